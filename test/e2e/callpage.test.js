// What end-to-end tests of calls rely on: the page in a real browser against a far end of another make.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { CallPage, flags } from './callpage.js';
import { Browser, chromium } from './chromium.js';
import { until, within } from './client.js';
import { build } from './node.js';
import { judge } from './tone.js';

const name = chromium();

function skipped(t) {
  if (name) return false;
  console.error(`${'#'.repeat(72)}\n# SKIPPED: ${t.name}: chromium is not installed\n${'#'.repeat(72)}`);
  if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error('TEST_REQUIRE_SERVERS=1, and chromium is not installed');
  t.skip('chromium is not installed');
  return true;
}

/** The far end, as ../callpeer runs it. */
class Peer {
  static async start() {
    const peer = new Peer();
    peer.child = spawn(await build('./test/callpeer'), [], { stdio: ['pipe', 'pipe', 'inherit'] });
    peer.ended = new Promise((resolve) => peer.child.once('close', resolve));
    peer.lines = createInterface({ input: peer.child.stdout })[Symbol.asyncIterator]();
    return peer;
  }

  async do(what, more = {}) {
    this.child.stdin.write(`${JSON.stringify({ do: what, ...more })}\n`);
    const { value } = await within(what, this.lines.next(), 20_000);
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`${what}: ${answer.error}`);
    return answer;
  }

  async end() {
    this.child.stdin.end();
    await this.ended;
  }
}

const sine = (hz, seconds, at = 0.25) => Int16Array.from({ length: seconds * 8000 }, (_, n) => at * 32767 * Math.sin((2 * Math.PI * hz * n) / 8000));

test('tones are judged as in Go', () => {
  const near = (got, low, high) => assert.ok(got >= low && got <= high, `${got} is not in ${low} to ${high}`);
  const pure = judge(sine(440, 2), 440);
  near(pure.longest, 1.98, 2);
  near(pure.level, 30, 200);
  near(pure.strongest, 435, 445);
  assert.equal(judge(sine(660, 2), 440).longest, 0);
  const gap = sine(440, 2).fill(0, 8000, 8160);
  near(judge(gap, 440).longest, 0.98, 1);
  near(judge(gap, 440).silent, 0.009, 0.011);
  assert.deepEqual([judge(new Int16Array(16000), 440).silent, judge(new Int16Array(16000), 440).longest], [1, 0]);
  const keys = sine(440, 2);
  sine(697, 0.2).forEach((s, n) => { keys[8000 + n] += s; });
  near(judge(keys, 440).longest, 0.8, 1.05);
});

test('a call in the browser', { timeout: 180_000 }, async (t) => {
  if (skipped(t)) return;
  const browser = await Browser.start(name, flags);
  try {
    for (const codec of ['PCMA', 'PCMU']) {
      await t.test(codec, async (s) => {
        const peer = await Peer.start();
        s.after(() => peer.end());
        const call = await CallPage.open(browser);
        s.after(() => call.close());
        const offer = await call.offer();
        assert.match(offer, /^m=audio \d+ UDP\/TLS\/RTP\/SAVPF 8 0 \d+\r$/m, 'PCMA, PCMU and keys, nothing else');
        await peer.do('tone', { hz: 440 });
        await call.accept((await peer.do('answer', { sdp: offer, codec })).sdp);

        s.diagnostic(`the browser hears ${JSON.stringify(await call.hears(440, 2))}`);
        s.diagnostic(`the far end hears ${JSON.stringify((await peer.do('hears', { hz: 660, seconds: 2 })).verdict)}`);
        const stats = await call.stats();
        assert.deepEqual([stats.codec, stats.spoken, stats.lost], [`audio/${codec}`, `audio/${codec}`, 0]);

        await call.insertDTMF('12#');
        await until('the keys came', async () => (await peer.do('keys')).keys === '12#', 20_000);

        await peer.do('tone', { hz: 0 });
        await call.silent(1);
        assert.equal((await call.judge(440, 1)).longest, 0, 'and no tone is heard where none is sent');
        await peer.do('tone', { hz: 880 });
        await call.hears(880, 1);

        await call.mute(true);
        await assert.rejects(peer.do('hears', { hz: 660, seconds: 1, wait: 3 }), /not heard/, 'a muted microphone is not heard');
        await call.mute(false);
        await peer.do('hears', { hz: 660, seconds: 1 });
        await call.speak(550);
        await peer.do('hears', { hz: 550, seconds: 1 });

        const ufrag = /a=ice-ufrag:(\S+)/;
        const again = await call.offer({ restart: true });
        assert.notEqual(ufrag.exec(again)[1], ufrag.exec(offer)[1], 'an ICE restart brings new credentials');
        await call.accept((await peer.do('renew', { sdp: again })).sdp);
        await call.hears(880, 1);
        await call.reconnect();
        await call.accept((await peer.do('answer', { sdp: await call.offer(), codec })).sdp);
        await call.hears(880, 1);
        await peer.do('hears', { hz: 550, seconds: 1 });
        assert.deepEqual(call.page.failures, []);
      });
    }
  } finally {
    await browser.stop();
  }
});
