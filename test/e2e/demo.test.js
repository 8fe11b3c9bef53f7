// `demo`: a stranger starts it, and looks by GraphQL and in a browser whether anybody lives there.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { before } from 'node:test';
import { Browser, chromium } from './chromium.js';
import { Client, get, until } from './client.js';
import { Node, binary, postgres, postgresMissing } from './node.js';

before(() => binary());

const command = ['demo', '--agents', '2', '--pace', '25', '--arrivals-per-minute', '120', '--seed', '7'];

/** The logins that the demo prints: address → password. */
async function logins(node) {
  await until('the demo tells its logins', () => node.printed.includes('see everything'), 30_000);
  return Object.fromEntries([...node.printed.matchAll(/(\S+@demo\.example)\s{2,}(\S+)/g)].map(([, mail, password]) => [mail, password]));
}

async function login(node, email, password) {
  const client = new Client(node.url);
  const { tokens } = await client.do(`mutation($input: SessionInput!) { sessionCreate(input: $input) { tokens { accessToken } userErrors { code message } } }`,
    { input: { email, password, client: 'e2e' } });
  client.token = tokens.accessToken;
  return client;
}

/** What the workspace holds that is made once. */
const furniture = async (admin) => {
  const all = await admin.send(`{ workspace { id name } teams(first: 50) { nodes { id name } } queues(first: 50) { nodes { id name } }
    channels(first: 50) { nodes { id kind name locale } } agents(first: 50) { nodes { id displayName } } }`);
  assert.equal(all.errors, undefined);
  return all.data;
};

const look = `{ interactions(last: 30, filter: { channelKinds: [$kind] }) { nodes { firstRespondedAt
  queue { name } messages(first: 12) { nodes { text attachments { state contentType url } } } } } }`;

const contacts = async (admin, kind) => (await admin.ask(look.replace('$kind', JSON.stringify(kind)))).nodes;

const han = (text) => /\p{Script=Han}/u.test(text);

async function life(t, node) {
  const mails = await logins(node);
  assert.deepEqual(Object.keys(mails).sort(), ['admin@demo.example', 'ann@demo.example', 'lina@demo.example']);
  const admin = await login(node, 'admin@demo.example', mails['admin@demo.example']);
  const first = await furniture(admin);

  await t.test('people come by both channels and are answered in their language', async () => {
    const answered = (list) => list.filter((i) => i.firstRespondedAt);
    for (const kind of ['webchat', 'custom']) {
      const list = await until(`answers by ${kind} on both sides`, async () => {
        const some = answered(await contacts(admin, kind));
        return some.some((i) => i.queue.name === 'English') && some.some((i) => i.queue.name === '中文') && some;
      }, 60_000);
      for (const i of list) {
        for (const m of i.messages.nodes) assert.equal(han(m.text), i.queue.name === '中文', `${i.queue.name}: ${m.text}`);
      }
    }
    await until('a matter is resolved', async () => (await admin.ask('{ conversations(first: 1, filter: { states: [RESOLVED] }) { nodes { id } } }')).nodes.length === 1, 60_000);
  });

  await t.test('pictures come by both channels', async () => {
    for (const kind of ['webchat', 'custom']) {
      const file = await until(`a picture by ${kind}`, async () => (await contacts(admin, kind))
        .flatMap((i) => i.messages.nodes).flatMap((m) => m.attachments).find((a) => a.state === 'READY'), 60_000);
      assert.equal(file.contentType, 'image/png');
      assert.equal((await get(file.url)).bytes.subarray(1, 4).toString(), 'PNG');
    }
  });

  await t.test('one person comes by both channels and is one customer', async () => {
    await until('a customer of both', async () => {
      const ids = async (kind) => (await admin.ask(`{ interactions(last: 100, filter: { channelKinds: ["${kind}"] }) { nodes { customer { id } } } }`)).nodes.map((i) => i.customer.id);
      const chats = new Set(await ids('webchat'));
      return (await ids('custom')).some((id) => chats.has(id));
    }, 90_000);
  });

  await t.test('the page is served, and an agent works with it', async (s) => {
    const served = await (await fetch(`${node.url}/agent.html`)).text();
    assert.equal(served, readFileSync(new URL('../../docs/examples/agent.html', import.meta.url), 'utf8'));
    const name = chromium();
    if (!name) {
      if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error('TEST_REQUIRE_SERVERS=1, and chromium is not installed');
      s.skip('chromium is not installed');
      return;
    }
    const browser = await Browser.start(name);
    try {
      const page = await browser.open(`${node.url}/agent.html`);
      assert.equal(await page.look('document.querySelector("#server").value'), node.url);
      await page.write('#email', 'lina@demo.example');
      await page.write('#password', mails['lina@demo.example']);
      await page.click('#login button');
      await page.sees('an offer', 'document.querySelector("#offers .offer")', 60_000);
      await page.look('document.querySelector("#offers .accept").click()');
      await page.sees('what the customer says', 'document.querySelector("#lines .line .said")?.textContent.length > 0');
      assert.ok(han(await page.look('document.querySelector("#lines .line .said").textContent')));
      assert.deepEqual(page.failures, []);
      if (process.env.TEST_PHOTO) writeFileSync(join(process.env.TEST_PHOTO, 'demo.png'), await page.photo());
    } finally {
      await browser.stop();
    }
  });

  await t.test('after a kill the same workspace goes on', async () => {
    const count = async () => (await admin.ask('{ interactions(first: 1) { totalCount } }')).totalCount;
    await node.kill();
    node.printed = '';
    await node.launch();
    assert.deepEqual(await logins(node), mails);
    assert.deepEqual(await furniture(admin), first, 'nothing was made twice');
    const before_ = await count();
    await until('people come again', async () => await count() > before_, 60_000);
    assert.match(node.printed, /seed 7, start 2/);
  });

  const { totalCount } = await admin.ask('{ unsettledMessages(first: 1) { totalCount } }');
  assert.equal(totalCount, 0, 'nothing failed on its way');
  assert.deepEqual((await admin.ask('{ deadLetters(first: 5) { nodes { kind error } } }')).nodes, []);
}

async function demo(t, databaseURL) {
  const node = await Node.start({ databaseURL, command });
  try {
    await life(t, node);
  } catch (error) {
    console.error(node.log.slice(-4000));
    throw error;
  } finally {
    await node.kill();
  }
}

test('the demo, sqlite', { timeout: 300_000 }, (t) => demo(t));

test('the demo, postgres', { timeout: 300_000 }, async (t) => {
  const missing = postgresMissing();
  if (missing) {
    console.error(`${'#'.repeat(72)}\n# SKIPPED: ${t.name}: ${missing}\n${'#'.repeat(72)}`);
    if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error(`TEST_REQUIRE_SERVERS=1, and ${missing}`);
    t.skip(missing);
    return;
  }
  const database = postgres(process.env.TEST_DATABASE_URL);
  try {
    await demo(t, database.url);
  } finally {
    database.drop();
  }
});
