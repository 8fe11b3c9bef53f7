// An object store of one test, as ../objects runs it, which several nodes share.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { patience, within } from './client.js';
import { build } from './node.js';

export class Objects {
  /** Its program, built once. */
  static built() { return build('./test/objects'); }

  /** Starts a store with one empty bucket; it is gone after end(), or when this process is. */
  static async start() {
    const objects = new Objects();
    objects.child = spawn(await Objects.built(), [], { stdio: ['pipe', 'pipe', 'inherit'] });
    objects.ended = new Promise((resolve) => objects.child.once('close', resolve));
    const lines = createInterface({ input: objects.child.stdout })[Symbol.asyncIterator]();
    const { value: address } = await within('the object store', lines.next());
    assert.ok(address, 'the object store did not start');
    objects.bucket = `http://${address}/files`;
    /** What a node is told. */
    objects.args = ['--blob-url', `s3://key:secret@${address}/files?tls=off`, '--allow-dial', `blob=127.0.0.1:${address.split(':')[1]}`];
    return objects;
  }

  /** The sizes of all that is stored, by key. Each is larger than its file: the description stands behind it. */
  async sizes() {
    const answer = await fetch(`${this.bucket}?list-type=2&max-keys=1000`, { signal: AbortSignal.timeout(patience) });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    assert.ok(!text.includes('<IsTruncated>true'), 'there are more than one page tells');
    return new Map([...text.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, one]) => [/<Key>(.*?)<\/Key>/.exec(one)[1], Number(/<Size>(\d+)<\/Size>/.exec(one)[1])]));
  }

  async end() {
    this.child.stdin.end();
    await this.ended;
  }
}
