// An agent's browser in a call: callpage.html, driven. Its microphone is a sine of 660 Hz; what it hears can be judged.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { until } from './client.js';
import { judge } from './tone.js';

const html = readFileSync(new URL('callpage.html', import.meta.url), 'utf8');

/** What a browser needs to be told for calls: sound without a click, and addresses that another process can use. */
export const flags = ['--autoplay-policy=no-user-gesture-required', '--disable-features=WebRtcHideLocalIpsWithMdns'];

export class CallPage {
  /** Opens the page in a browser that was started with `flags`. */
  static async open(browser, { hz = 660, codecs = ['PCMA', 'PCMU'] } = {}) {
    const call = new CallPage();
    // Sound needs a secure origin, which 127.0.0.1 is.
    call.server = createServer((_, response) => response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(html));
    await new Promise((resolve) => call.server.listen(0, '127.0.0.1', resolve));
    call.page = await browser.open(`http://127.0.0.1:${call.server.address().port}/`);
    await call.page.look(`call.open(${JSON.stringify({ hz, codecs })})`);
    return call;
  }

  /** The SDP offer with all candidates. */
  offer({ restart = false } = {}) { return this.page.look(`call.offer(${restart})`); }

  /** A new connection, as after a reload; offer() is to follow. */
  async reconnect() { await this.page.look('call.connect()'); }

  /** Takes the SDP answer, and waits until the connection stands. */
  async accept(answer) {
    await this.page.look(`call.accept(${JSON.stringify(answer)})`);
    await this.page.sees('the connection stands', 'call.connection.connectionState === "connected"', 20_000);
  }

  /** RTCPeerConnection's state. */
  state() { return this.page.look('call.connection.connectionState'); }

  /** Everything heard from now on for so long, judged for one tone. */
  async judge(hz, seconds) {
    const from = await this.page.look('call.length()');
    await until('enough was heard', async () => await this.page.look('call.length()') >= from + seconds * 8000, seconds * 1000 + 20_000);
    return judge((await this.samples(from)).subarray(0, seconds * 8000), hz);
  }

  /** Waits until a tone has stood for so long without a break, from now on. */
  async hears(hz, seconds, ms = 20_000) {
    const from = await this.page.look('call.length()');
    let last;
    try {
      return await until(`${hz} Hz for ${seconds} s`, async () => {
        last = judge(await this.samples(from), hz);
        return last.longest >= seconds && last;
      }, ms);
    } catch (error) {
      error.message += `: heard was ${JSON.stringify(last)}, ${JSON.stringify(await this.stats())}`;
      throw error;
    }
  }

  /** Waits until nothing but silence has come for so long. */
  async silent(seconds, ms = 20_000) {
    const from = await this.page.look('call.length()');
    return until(`silence for ${seconds} s`, async () => {
      const heard = await this.samples(from);
      return heard.length >= seconds * 8000 && judge(heard.subarray(heard.length - seconds * 8000), 440).silent === 1;
    }, ms);
  }

  async samples(from) {
    const bytes = Buffer.from(await this.page.look(`call.samples(${from})`), 'base64');
    return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  }

  /** Presses keys (RFC 4733). */
  insertDTMF(digits) { return this.page.look(`call.keys(${JSON.stringify(digits)})`); }

  /** Mutes the microphone by itself: silence is sent, the far end is not told. */
  mute(muted) { return this.page.look(`call.mute(${muted})`); }

  speak(hz) { return this.page.look(`call.speak(${hz})`); }

  /** received, lost, codec, sent, spoken (the codec of what is sent), concealed. */
  stats() { return this.page.look('call.stats()'); }

  async close() {
    await this.page.look('call.close()').catch(() => {}); // the page may be gone
    await this.page.close();
    this.server.closeAllConnections();
    this.server.close();
  }
}
