// A telephone carrier with a caller, as ../sip/carrier runs it.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { within } from './client.js';
import { build } from './node.js';

export class Carrier {
  /** A carrier whose calls go to the trunk at an address. */
  static async start(trunk) {
    const carrier = new Carrier();
    carrier.child = spawn(await build('./test/sip/carrier'), [trunk], { stdio: ['pipe', 'pipe', 'inherit'] });
    carrier.over = new Promise((resolve) => carrier.child.once('close', resolve));
    carrier.lines = createInterface({ input: carrier.child.stdout })[Symbol.asyncIterator]();
    return carrier;
  }

  /** One command, see main.go there; throws where the answer is an error. Only one at a time. */
  async do(what, more = {}) {
    this.child.stdin.write(`${JSON.stringify({ do: what, ...more })}\n`);
    const { value, done } = await within(`the carrier's ${what}`, this.lines.next(), ((more.wait ?? 20) + 10) * 1000);
    if (done) throw new Error(`${what}: the carrier is gone`);
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`${what}: ${answer.error}`);
    return answer;
  }

  /** Waits until the caller hears a tone for so long without a break. */
  async hears(hz, seconds, wait = 40) { return (await this.do('hears', { hz, seconds, wait })).verdict; }

  async end() {
    this.child.stdin.end();
    await this.over;
  }
}
