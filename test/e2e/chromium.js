// A headless Chromium, driven over its DevTools protocol: what a person does, and what he sees.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { until, within } from './client.js';

const names = [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean);

/** The browser of this machine; null if there is none. CHROMIUM names another. */
export function chromium() {
  for (const name of names) {
    try {
      execFileSync(name, ['--version'], { stdio: 'pipe' });
      return name;
    } catch { /* the next */ }
  }
  return null;
}

/** One running browser. */
export class Browser {
  /** `more` are further switches. */
  static async start(name, more = []) {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'tributary-chromium-'));
    // It must not phone home: the test's traffic is the test's. The sandbox needs rights that root in a container has not.
    browser.child = spawn(name, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions', '--lang=en-US', '--window-size=1280,900',
      ...more, '--remote-debugging-port=0', `--user-data-dir=${browser.profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    browser.kill = () => { // with all its processes, which would go on writing into the profile
      try {
        process.kill(-browser.child.pid, 'SIGKILL');
      } catch { /* they are gone */ }
    };
    process.on('exit', browser.kill);
    let said = '';
    const address = new Promise((resolve, reject) => {
      browser.child.stderr.setEncoding('utf8').on('data', (text) => {
        said = (said + text).slice(-20_000);
        const found = /DevTools listening on (ws:\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
      browser.child.once('error', reject);
      browser.child.once('exit', (code) => reject(new Error(`the browser ended with ${code}: ${said}`)));
    });
    browser.gone = new Promise((resolve) => browser.child.once('exit', resolve));
    browser.socket = new WebSocket(await within('the browser starts', address, 60_000), { perMessageDeflate: false });
    browser.calls = new Map();
    browser.pages = new Map();
    browser.count = 0;
    browser.socket.on('message', (data) => browser.take(JSON.parse(data)));
    await new Promise((resolve, reject) => browser.socket.once('open', resolve).once('error', reject));
    return browser;
  }

  take({ id, result, error, method, params, sessionId }) {
    if (id) {
      const call = this.calls.get(id);
      this.calls.delete(id);
      if (error) call.reject(new Error(`${call.method}: ${error.message}`));
      else call.resolve(result);
    } else {
      this.pages.get(sessionId)?.told(method, params);
    }
  }

  call(method, params = {}, sessionId = undefined) {
    this.count += 1;
    const id = this.count;
    const answer = new Promise((resolve, reject) => this.calls.set(id, { resolve, reject, method }));
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return within(method, answer, 30_000);
  }

  /** Opens a page; `script` runs in it before its own. */
  async open(url, { script } = {}) {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId, targetId);
    this.pages.set(sessionId, page);
    for (const domain of ['Page', 'Runtime', 'Log']) await page.call(`${domain}.enable`);
    if (script) await page.call('Page.addScriptToEvaluateOnNewDocument', { source: script });
    await page.call('Page.navigate', { url });
    await page.sees('the page is loaded', 'document.readyState === "complete" && location.href !== "about:blank"');
    return page;
  }

  async stop() {
    process.off('exit', this.kill);
    this.socket.terminate();
    this.kill();
    await this.gone;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** One page. */
class Page {
  constructor(browser, session, target) {
    Object.assign(this, { browser, session, target, failures: [] });
  }

  call(method, params) {
    return this.browser.call(method, params, this.session);
  }

  /** Notes what must not happen in a page: an exception that nobody caught, a policy that was broken. */
  told(method, params) {
    if (method === 'Runtime.exceptionThrown') {
      const { text, exception } = params.exceptionDetails;
      this.failures.push(`${text} ${exception?.description ?? ''}`);
    } else if (method === 'Log.entryAdded' && params.entry.source === 'security') {
      this.failures.push(params.entry.text);
    }
  }

  /** The value of an expression in the page. */
  async look(expression) {
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Waits until an expression is true on the page, and gives its value. */
  async sees(what, expression, ms) {
    try {
      return await until(what, () => this.look(`(() => { try { return ${expression}; } catch { return null; } })()`), ms);
    } catch (error) {
      error.message += `\non the page: ${await this.look('document.body.innerText').catch(String)}\n${this.failures.join('\n')}`;
      throw error;
    }
  }

  /** Clicks in the middle of an element, as a mouse does. */
  async click(selector) {
    await this.sees(`${selector} can be clicked`, `!document.querySelector(${JSON.stringify(selector)}).disabled`);
    const { x, y } = await this.look(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: 'center' });
      const b = e.getBoundingClientRect(); return { x: b.x + b.width / 2, y: b.y + b.height / 2 }; })()`);
    for (const type of ['mousePressed', 'mouseReleased']) await this.call('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }

  /** Writes into a field in place of what stands there. */
  async write(selector, text) {
    await this.look(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.focus(); e.select(); })()`);
    await this.call('Input.insertText', { text });
  }

  async press(key) {
    const common = { key, code: key, windowsVirtualKeyCode: key === 'Enter' ? 13 : 0, text: key === 'Enter' ? '\r' : undefined };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...common });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  /** A picture of the page as PNG, for a person who wonders. */
  async photo() {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  async close() {
    if (this.browser.socket.readyState === WebSocket.OPEN) await this.browser.call('Target.closeTarget', { targetId: this.target });
    this.browser.pages.delete(this.session);
  }
}
