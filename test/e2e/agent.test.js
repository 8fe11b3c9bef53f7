// docs/examples/agent.html in a real browser: the page keeps every line once, whatever the wire and the server do.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import test, { before } from 'node:test';
import { Browser, chromium } from './chromium.js';
import { put, unique, until } from './client.js';
import { Node, binary, postgres, postgresMissing } from './node.js';
import { Wire } from './wire.js';
import { Visitor, World, password } from './world.js';

const name = chromium();
const source = readFileSync(new URL('../../docs/examples/agent.html', import.meta.url), 'utf8');
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');

before(() => (name ? binary() : null));

/** Skips loudly; where servers are required, a browser is, too. */
function skipped(t, missing) {
  if (!missing) return false;
  console.error(`${'#'.repeat(72)}\n# SKIPPED: ${t.name}: ${missing}\n${'#'.repeat(72)}`);
  if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error(`TEST_REQUIRE_SERVERS=1, and ${missing}`);
  t.skip(missing);
  return true;
}

const browserMissing = name ? '' : 'chromium is not installed';

/** Serves the page from an address of its own, as a front end of somebody else: the API is on another origin. */
async function host(html) {
  const server = createServer((_, response) => response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(html));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/agent.html`, stop: () => { server.closeAllConnections(); server.close(); } };
}

/** A page that differs from ours in one place. */
function altered(from, to) {
  assert.equal(source.split(from).length, 2, `the page has one "${from}"`);
  return source.replace(from, () => to);
}

/** Makes the first access token seem to end soon, and counts how often another one was bought. */
const hasty = `(() => {
  const real = window.fetch;
  window.refreshed = 0;
  window.fetch = async (url, options) => {
    const response = await real(url, options);
    const body = String(options?.body);
    if (body.includes('sessionRefresh(')) window.refreshed += 1;
    if (!body.includes('sessionCreate(')) return response;
    const answer = await response.json();
    answer.data.sessionCreate.tokens.accessExpiresAt = new Date(Date.now() + 1000).toISOString();
    return new Response(JSON.stringify(answer), { headers: { 'Content-Type': 'application/json' } });
  };
})()`;

/** One agent with the page before him, one visitor who writes to him, and a wire between page and program. */
class Scene {
  static async open(t, browser, node, { html = source, script } = {}) {
    const scene = new Scene();
    scene.node = node;
    scene.world = await World.create(node);
    scene.agent = await scene.world.agent('Ann', { silent: true });
    scene.site = await scene.world.site(await scene.world.queue('main'));
    scene.wire = await Wire.to(node.url);
    t.after(() => scene.wire.stop());
    const host_ = await host(html);
    t.after(() => host_.stop());
    scene.page = await browser.open(`${host_.url}?server=${scene.wire.url}`, { script });
    t.after(() => scene.page.close());
    scene.visitor = await Visitor.come(node, scene.site.address);
    await scene.visitor.stream.open();
    scene.said = []; // what the chat has to hold, in order
    return scene;
  }

  async login() {
    await this.page.write('#email', this.agent.email);
    await this.page.write('#password', password);
    await this.page.click('#login button');
    await this.page.sees('the page is live', 'document.querySelector("#link").dataset.live === "yes"');
  }

  async hears(text = unique('word')) {
    await this.visitor.say(text);
    this.said.push(text);
    return text;
  }

  async answers(text = unique('answer')) {
    await this.page.write('#text', text);
    await this.page.press('Enter');
    this.said.push(text);
    return text;
  }

  async take(text) {
    await this.page.sees('the offer with what was said', `[...document.querySelectorAll('#offers .offer p')].some((p) => p.textContent === ${JSON.stringify(text)})`);
    await this.page.click('#offers .accept');
    // Read to its end: a reading under way would be tried again after an outage, and bring what the stream has to bring.
    await this.page.sees('the chat is open', 'document.querySelector("#reply").hidden === false && matters.get(openId).loaded');
  }

  /** What stands on the screen, line by line. */
  lines() {
    return this.page.look('[...document.querySelectorAll("#lines .line")].map((l) => l.querySelector(".said").textContent)');
  }

  /** Waits until so many lines stand there for good: each with its id, none on its way. */
  async settled(count, ms = 30_000) {
    await this.page.sees(`${count} lines, none on its way`,
      `document.querySelectorAll('#lines .line').length >= ${count} && !document.querySelector('#lines .line[data-key]')`, ms);
  }

  /** Every line once and in order: on the screen, in the log of the chat, and at the visitor's. */
  async whole(ms) {
    await this.settled(this.said.length, ms);
    assert.deepEqual(await this.lines(), this.said, 'the page shows every line once and in order');
    const told = (await this.visitor.history()).map((m) => m.text);
    assert.deepEqual(told, this.said, 'the chat holds every line once and in order');
  }

  /**
   * The server is killed in the middle of the chat. The visitor writes before the kill and after the restart, and the agent
   * types between. `deaf`: the page's wire is cut for all that time, so that it surely misses what the visitor writes.
   */
  async outage({ deaf }) {
    const { node, page, wire, visitor } = this;
    const away = () => page.sees('the page knows that it is cut off', 'document.querySelector("#link").dataset.live === "no"');
    if (deaf) {
      wire.cut();
      await away();
    }
    const lost = [await this.hears(unique('before'))];
    visitor.stream.life.over = true; // his connection breaks, too, and he goes on after his cursor
    await node.kill();
    await away();
    const typed = [unique('typed'), unique('typed')];
    for (const text of typed) await this.answers(text);
    this.said.splice(-typed.length); // they reach the chat last
    await page.sees('what was typed waits', 'document.querySelectorAll("#lines .line[data-key]").length === 2');
    await node.launch();
    await visitor.stream.resume();
    lost.push(await this.hears(unique('after')));
    wire.mend();
    await page.sees('the page is live again', 'document.querySelector("#link").dataset.live === "yes"', 20_000);
    this.said.push(...typed);
    await this.hears(unique('on')); // and life goes on
    // The visitor's word and the agent's waiting ones race; the chat's own order is the truth.
    const spoken = [...this.said];
    this.said = (await until('both answers are in', async () => {
      const all = (await visitor.history()).map((m) => m.text);
      return typed.every((x) => all.includes(x)) && all;
    }, 20_000));
    assert.deepEqual([...this.said].sort(), [...spoken].sort(), 'nothing was lost or doubled');
    assert.deepEqual(this.said.filter((x) => typed.includes(x)), typed, 'answers keep their order');
    assert.deepEqual(this.said.filter((x) => !typed.includes(x)), spoken.filter((x) => !typed.includes(x)), 'so does all else');
    return { lost, typed };
  }
}

async function announced(client, bytes) {
  const input = { name: 'photo.png', contentType: 'image/png', bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  const { target } = await client.do(`mutation($input: UploadInput!) { visitorUploadCreate(input: $input) {
    target { attachmentId method url headers { key value } expiresAt } userErrors { code message } } }`, { input });
  await put(target, bytes);
  return target.attachmentId;
}

async function chat(t, browser, databaseURL) {
  const node = await Node.start({ databaseURL });
  let scene;
  try {
    scene = await Scene.open(t, browser, node, { script: hasty });
    const { page, visitor, wire } = scene;
    await t.test('a word comes as an offer, is taken and answered', async () => {
      await scene.login();
      const hostile = `<img src=x onerror="document.title='taken'"> ${unique('hello')} 你好`;
      await scene.hears(hostile);
      await page.sees('an offer with its countdown', `/^\\d+ s$/.test(document.querySelector('#offers .countdown').textContent)`);
      await scene.take(hostile);
      const answer = await scene.answers();
      const seen = await visitor.stream.heard('the answer', (e) => e.message?.text === answer);
      assert.equal(seen.message.authorName, 'Ann');
      // Giving a cursor back acknowledges what stands before it.
      await visitor.client.ask('query($after: EventCursor) { visitorEventsAfter(after: $after) { cursor } }', { after: visitor.stream.cursor });
      await page.sees('that it was delivered', `document.querySelector('#lines .line:last-child').dataset.delivery === 'DELIVERED'`);
      await scene.whole();
      assert.equal(await page.look('document.title'), 'Tributary: agent', 'what a stranger writes is text');
      assert.ok(await page.look('window.refreshed') > 0, 'the token was renewed before its end');
    });
    await t.test('a picture shows', async () => {
      const text = unique('look');
      await visitor.say(text, { attachmentIds: [await announced(visitor.client, png)] });
      scene.said.push(text);
      await page.sees('the picture', `document.querySelector('#lines img')?.naturalWidth === 1`);
      await scene.whole();
    });
    await t.test('an answer whose acknowledgement is lost is sent once', async () => {
      wire.lose('mutation($id: ID!, $input: MessageInput!');
      const text = await scene.answers();
      // The line may stand there already, by the stream; the page asks on all the same until it has an answer.
      await until('the acknowledgement was lost four times', () => wire.lost === 4);
      await page.look('Promise.all([...matters.values()].map(async (m) => { while (m.posting) await sleep(20); }))');
      await scene.whole();
      assert.equal(visitor.told().filter((m) => m.text === text).length, 1, 'the visitor was told once');
    });
    await t.test('the server is killed and restarted in the middle of the chat', async () => {
      for (const deaf of [true, false, false]) {
        const { typed } = await scene.outage({ deaf });
        await scene.whole();
        for (const text of typed) {
          await visitor.stream.heard(text, (e) => e.message?.text === text);
          assert.equal(visitor.told().filter((m) => m.text === text).length, 1, 'the visitor got it once');
        }
      }
    });
    await t.test('a cursor that cannot be served: everything is read anew', async () => {
      const { cursor } = await (await World.create(node)).admin.ask('query { events(first: 1) { cursor } }');
      await page.look(`(stream.cursor = ${JSON.stringify(cursor)}, stream.socket.close(1000))`);
      await scene.hears();
      await scene.whole();
      await scene.hears();
      await scene.whole();
    });
    await t.test('status and end', async () => {
      const shown = (state) => page.sees(`the status ${state}`, `document.querySelector('#status').value === '${state}'`);
      await shown('AVAILABLE');
      await scene.agent.status('BUSY'); // from elsewhere, as by a supervisor
      await shown('BUSY');
      await page.look(`(() => { const s = document.querySelector('#status'); s.value = 'BREAK'; s.onchange(); })()`);
      const state = () => scene.agent.client.ask('{ viewer { agent { status { state } } } }');
      await until('the agent has a break', async () => (await state()).agent.status.state === 'BREAK');
      await page.click('#resolve');
      await page.sees('the matter is resolved', `document.querySelector('#matter-state').textContent === 'resolved'`);
      await page.click('#leave');
      await page.sees('the door', `document.querySelector('#entry').hidden === false`);
    });
    assert.deepEqual(page.failures, [], 'no exception in the page, no policy broken');
  } catch (error) {
    if (process.env.TEST_PHOTO && scene) writeFileSync(join(process.env.TEST_PHOTO, `${t.name}.png`), await scene.page.photo());
    console.error(node.log.slice(-4000));
    throw error;
  } finally {
    await node.kill();
  }
}

async function withBrowser(run) {
  const browser = await Browser.start(name);
  try {
    await run(browser);
  } finally {
    await browser.stop();
  }
}

test('the page, sqlite', { timeout: 180_000 }, async (t) => {
  if (skipped(t, browserMissing)) return;
  await withBrowser((browser) => chat(t, browser));
});

test('the page, postgres', { timeout: 180_000 }, async (t) => {
  if (skipped(t, browserMissing || postgresMissing())) return;
  const database = postgres(process.env.TEST_DATABASE_URL);
  try {
    await withBrowser((browser) => chat(t, browser, database.url));
  } finally {
    database.drop();
  }
});

// What the tests above would not notice is not proved by them: with a mechanism taken out of the page they have to fail.
test('the page, mechanisms removed', { timeout: 180_000 }, async (t) => {
  if (skipped(t, browserMissing)) return;
  await withBrowser(async (browser) => {
    const node = await Node.start();
    try {
      await t.test('without the cursor, lines of the outage are missing', async (s) => {
        const scene = await Scene.open(s, browser, node, { html: altered('variables: { after: this.cursor }', 'variables: {}') });
        await scene.login();
        await scene.take(await scene.hears());
        const { lost } = await scene.outage({ deaf: true });
        await new Promise((resolve) => setTimeout(resolve, 1500)); // what does not come cannot be waited for
        const shown = await scene.lines();
        assert.deepEqual(lost.filter((x) => shown.includes(x)), [], 'the page never heard of them');
        await assert.rejects(scene.whole(2000), 'and the test sees it');
      });
      await t.test('with a new key for each try, the answer is doubled', async (s) => {
        const scene = await Scene.open(s, browser, node, { html: altered('await ask(query, variables);', 'await ask(query, { ...variables, key: newKey() });') });
        await scene.login();
        await scene.take(await scene.hears());
        scene.wire.lose('mutation($id: ID!, $input: MessageInput!');
        const text = await scene.answers();
        await until('a second one', async () => (await scene.visitor.history()).filter((m) => m.text === text).length > 1);
        await assert.rejects(scene.whole(2000), 'and the test sees it');
      });
    } finally {
      await node.kill();
    }
  });
});
