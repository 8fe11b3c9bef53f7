// One customer by mail and by chat, at a desk of two nodes: the real program twice, on PostgreSQL, Redis and one object
// store, with real mail servers.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test, { before } from 'node:test';
import { Client, Stream, eventStream, get, put, unique, until, visitorStream, within } from './client.js';
import { filesOf, mailFor, plainMail } from './mail.js';
import { Node, binary, freeAddress, postgres, postgresMissing, scratch } from './node.js';
import { Objects } from './objects.js';
import { Visitor, World, listen, signed } from './world.js';

before(() => Promise.all([binary(), Objects.built()]));

const help = 'help@local.test';
const customer = 'may@example.com';

/** Two nodes over one database, one Redis, one set of keys and one bucket. */
export async function pair(database, objects) {
  const keys = join(scratch('tributary-keys-'), 'keys.json');
  const secret = unique('a secret of both nodes');
  const nodes = [];
  for (let n = 0; n < 2; n += 1) {
    nodes.push(await Node.start({
      databaseURL: database.url,
      more: ['--redis-url', process.env.TEST_REDIS_URL, '--key-file', keys, '--peer', await freeAddress(), '--peer-secret', secret, '--allow-dial', 'mail=127.0.0.0/8', ...objects.args],
    }));
  }
  return nodes;
}

function missing() {
  if (!process.env.TEST_REDIS_URL) return 'TEST_REDIS_URL is not set';
  return postgresMissing();
}

/** A mailbox of the desk on the mail servers. */
async function mailbox(world, mail, queueId, more = {}) {
  const { readFileSync } = await import('node:fs');
  return world.channel({
    kind: 'email', name: unique('mail'), queueId,
    config: {
      address: help, name: 'Help', imapHost: '127.0.0.1', imapPort: port(mail.imap), imapSecurity: 'starttls',
      smtpHost: '127.0.0.1', smtpPort: port(mail.submission), smtpSecurity: 'starttls', tlsCa: readFileSync(mail.ca, 'utf8'), authservIds: ['mx.local.test'], ...more,
    },
    secrets: [{ name: 'imapPassword', value: 'secret' }],
  });
}

/** The mail that the customer's own program would send. */
function letter(subject, text, more = {}) {
  return plainMail({ from: `May <${customer}>`, to: more.to ?? help, subject, text, header: more.header ?? [], files: more.files });
}

const port = (address) => Number(address.split(':').at(-1));

const once = (text) => text.replaceAll('\r', '').replaceAll(/\n[ \t]+/g, ' ');

/** A file that no other test has. */
function picture(name, size) {
  const bytes = Buffer.concat([Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64'), randomBytes(size)]);
  return { name, type: 'image/png', bytes };
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

const announcement = ({ name, type, bytes }) => ({ name, contentType: type, bytes: bytes.length, sha256: sha256(bytes) });

/** Puts a file up at the node of this client: an agent's. */
async function uploads(client, file) {
  const { target } = await client.do(`mutation($input: UploadInput!) { attachmentUploadCreate(input: $input) {
    target { attachment { id } method url headers { key value } } userErrors { code message } } }`, { input: announcement(file) });
  assert.ok(target.url.startsWith(client.url), target.url);
  await put(target, file.bytes);
  return target.attachment.id;
}

/** The same of a visitor. */
async function visitorUploads(client, file) {
  const { target } = await client.do(`mutation($input: UploadInput!) { visitorUploadCreate(input: $input) {
    target { attachmentId method url headers { key value } } userErrors { code message } } }`, { input: announcement(file) });
  assert.ok(target.url.startsWith(client.url), target.url);
  await put(target, file.bytes);
  return target.attachmentId;
}

/** A message's files come whole through the API of this client's node. */
async function reads(client, messageId, files) {
  const { attachments } = await client.ask('query($id: ID!) { message(id: $id) { attachments { name state kind contentType bytes sha256 error url } } }', { id: messageId });
  assert.deepEqual(attachments.map(({ url, ...told }) => told),
    files.map(({ name, type, bytes }) => ({ name, state: 'READY', kind: 'IMAGE', contentType: type, bytes: bytes.length, sha256: sha256(bytes), error: null })));
  for (const [n, { url }] of attachments.entries()) await downloads(client, url, files[n]);
}

/** A signed address of this client's node gives the file. */
async function downloads(client, url, file) {
  assert.ok(url.startsWith(client.url), url);
  const got = await get(url);
  assert.equal(got.type, file.type);
  assert.ok(got.bytes.equals(file.bytes), `${file.name}: the bytes are those that were sent`);
}

const offerView = `query($id: ID!) { offer(id: $id) { id state agent { id } interaction { id joinedBy channelKind conversation { id
  customer { id displayName identities { verification kind } }
  openInteractions: interactions(first: 10) { nodes { id channelKind state messages(last: 5) { nodes { text subject direction } } } } } } } }`;

const contact = `query($id: ID!) { interaction(id: $id) { id state channelKind joinedBy agent { id } conversation { id number state related { id } owner { id } } composer { subject replyTo { role } } } }`;

test('two nodes, one desk', { timeout: 240_000 }, async (t) => {
  const mail = await mailFor(t, missing());
  if (!mail) return;
  const database = postgres(process.env.TEST_DATABASE_URL);
  let nodes = [];
  let objects;
  let done = false;
  try {
    objects = await Objects.start();
    nodes = await pair(database, objects);
    await story(t, mail, database, objects, ...nodes);
    done = true;
  } finally {
    for (const node of nodes) {
      await node.kill();
      if (!done || process.env.TEST_LOG) console.error(node.log.slice(-6000));
    }
    await objects?.end();
    await mail.end();
    database.drop();
  }
});

async function story(t, mail, database, objects, north, south) {
  const world = await World.create(north);
  const queueId = await world.queue('main');
  const secret = randomBytes(32).toString('base64');
  const box = await mailbox(world, mail, queueId);
  const site = await world.channel({ kind: 'webchat', name: unique('site'), config: {}, queueId, secrets: [{ name: 'identitySecret', value: secret }] });
  const ann = await world.agent('Ann');
  const ben = await world.agent('Ben');
  await ben.status('BUSY');
  // Ben works on the other node.
  await ben.stream.close();
  ben.client = new Client(south.url, ben.client.token);
  ben.stream = await listen(ben.client, 'MINE');
  const moving = new Stream(new Client(north.url, world.admin.token), eventStream, { after: await world.admin.ask('{ eventCursor }'), filter: { scope: 'ALL' } });
  await moving.open();
  const homes = [south, north];
  /** The stream goes on at the other node, from where it stands. */
  const move = async () => {
    await moving.close();
    moving.client = new Client(homes[0].url, world.admin.token);
    homes.reverse();
    await moving.open();
  };
  const view = (id) => world.admin.ask(contact, { id });
  const seen = {};
  const broken = [picture('kettle.png', 200_000), picture('film.png', 6_000_000)]; // the second is stored in two parts

  await t.test('both live, one of them fetches the mailbox', async (s) => {
    const health = await until('both are seen, and the mailbox is watched', async () => {
      const h = await ben.world.admin.ask('{ health { node bus busConnected leaders { name node } nodes { name reachable roles } } }');
      const c = await world.admin.ask('query($id: ID!) { channel(id: $id) { health { pulls { node watching error } } } }', { id: box.id });
      const [pull] = c.health.pulls;
      assert.equal(pull.error, null);
      return h.nodes.length === 2 && h.nodes.every((n) => n.reachable) && pull.watching && pull.node ? { ...h, pull } : null;
    });
    assert.equal(health.bus, 'redis');
    assert.ok(health.busConnected);
    assert.ok(health.nodes.some((n) => n.name === health.pull.node));
    s.diagnostic(`mailbox by ${health.pull.node}, router by ${health.leaders.find((l) => l.name === 'router')?.node}`);
  });

  await t.test('she mails: a new matter, offered at the node where Ann sits', async (s) => {
    const first = letter('Broken kettle', 'It does not boil.', { files: broken });
    const began = performance.now();
    await mail.submit({ user: customer, to: help, raw: first.raw });
    seen.first = { ...first, ...await world.said('It does not boil.') };
    const offer = await world.offered(seen.first.interactionId, seen.first.place);
    s.diagnostic(`${(performance.now() - began).toFixed(0)} ms from handing the mail in to the offer`);
    assert.equal(offer.agentId, ann.id);
    await ann.asked(offer);
    await ann.accept(offer);
    const i = await view(seen.first.interactionId);
    assert.deepEqual([i.state, i.joinedBy, i.channelKind, i.composer.subject], ['ACTIVE', 'NEW', 'email', 'Re: Broken kettle']);
    await move();
  });

  await t.test('the answer stands in her mailbox, in the thread of her mail', async () => {
    await ann.say(seen.first.interactionId, 'Which kettle is it?');
    const got = await mail.arrives(customer, (m) => once(m.text).includes('Which kettle is it?'));
    const id = seen.first.id.replace(/[<>]/g, '');
    assert.match(got.header('in-reply-to')[0], new RegExp(id.replaceAll('.', '\\.')));
    assert.match(got.header('references').join(' '), new RegExp(id.replaceAll('.', '\\.')));
    assert.equal(got.header('subject')[0], 'Re: Broken kettle');
    seen.answer = { id: got.header('message-id')[0], replyTo: (got.header('reply-to')[0] ?? got.header('from')[0]).match(/[^\s<]+@[^\s>]+/)[0] };
    assert.match(seen.answer.replyTo, /^help\+c\d+\.[0-9a-f]+@local\.test$/);
    await move();
  });

  await t.test('her pictures are whole at both nodes, whichever fetched the mail', async () => {
    for (const node of [north, south]) await reads(new Client(node.url, ann.client.token), seen.first.messageId, broken);
  });

  let visitor;
  await t.test('she writes in the chat, known by a signed token: the same matter, and the offer shows her mail', async () => {
    visitor = new Visitor();
    visitor.client = new Client(south.url);
    const token = signed(secret, site.address, { sub: 'customer-7', email: customer, email_verified: true, name: 'May' });
    const visit = await visitor.client.do(`mutation($site: Key!, $token: String) {
      visitorSessionStart(input: { siteKey: $site, identityToken: $token }) { token visitorToken eventCursor userErrors { code message } } }`, { site: site.address, token });
    visitor.client.token = visit.token;
    visitor.stream = new Stream(visitor.client, visitorStream, { after: visit.eventCursor });
    await visitor.stream.open();
    await visitor.say('It is me, about the kettle.');
    seen.chat = await world.said('It is me, about the kettle.');
    assert.equal(seen.chat.conversationId, seen.first.conversationId);
    const offer = await world.offered(seen.chat.interactionId, seen.chat.place);
    assert.equal(offer.agentId, ann.id);
    const shown = await ann.client.ask(offerView, { id: offer.id });
    assert.equal(shown.interaction.joinedBy, 'OPEN_CONVERSATION');
    const other = shown.interaction.conversation.openInteractions.nodes.find((n) => n.channelKind === 'email');
    assert.deepEqual(other.messages.nodes.map((m) => m.text), ['It does not boil.', 'Which kettle is it?']);
    await ann.accept(offer);
    const m = await ann.say(seen.chat.interactionId, 'Thank you, I look.');
    await visitor.sees(m.id);
    await move();
  });

  await t.test('pictures in the chat, put up at one node and read at the other', async () => {
    const hers = picture('plug.png', 4096);
    const said = await visitor.say('Look at its plug.', { attachmentIds: [await visitorUploads(visitor.client, hers)] });
    assert.equal((await world.said('Look at its plug.')).interactionId, seen.chat.interactionId);
    await reads(ann.client, said.id, [hers]);
    const anns = picture('socket.png', 300_000);
    const m = await ann.say(seen.chat.interactionId, 'It wants such a socket.', { attachmentIds: [await uploads(ann.client, anns)] });
    const { attachments: [shown] } = await visitor.sees(m.id);
    assert.deepEqual([shown.name, shown.contentType, shown.bytes], [anns.name, anns.type, anns.bytes.length]);
    await downloads(visitor.client, shown.url, anns);
    await move();
  });

  await t.test('she answers the mail: the same contact of the same matter', async () => {
    const reply = letter('Re: Broken kettle', 'The red one.', { to: seen.answer.replyTo, header: [`In-Reply-To: ${seen.answer.id}`, `References: ${seen.first.id} ${seen.answer.id}`] });
    await mail.submit({ user: customer, to: seen.answer.replyTo, raw: reply.raw });
    const said = await world.said('The red one.');
    assert.deepEqual([said.conversationId, said.interactionId], [seen.first.conversationId, seen.first.interactionId]);
    await move();
  });

  await t.test('transfer to Ben at the other node', async () => {
    await ben.status('AVAILABLE');
    const from = world.log.mark();
    await ann.client.do(`mutation($id: ID!, $to: TransferInput!) { interactionTransfer(id: $id, input: $to) { interaction { id state } userErrors { code message } } }`,
      { id: seen.first.interactionId, to: { agentId: ben.id } });
    const offer = await world.offered(seen.first.interactionId, from);
    assert.equal(offer.agentId, ben.id);
    await ben.asked(offer);
    await ben.accept(offer);
    const i = await view(seen.first.interactionId);
    assert.deepEqual([i.state, i.agent.id], ['ACTIVE', ben.id]);
    await reads(ben.client, seen.first.messageId, broken);
    const bill = picture('bill.png', 700_000);
    await ben.say(seen.first.interactionId, 'A new one is on its way.', { attachmentIds: [await uploads(ben.client, bill)] });
    const got = await mail.arrives(customer, (m) => once(m.text).includes('A new one is on its way.'));
    const [file, ...more] = filesOf(await mail.read(customer, got.header('message-id')[0]));
    assert.deepEqual([file.name, file.type, more], [bill.name, bill.type, []]);
    assert.ok(file.bytes.equals(bill.bytes), 'the bytes that he put up');
    await move();
  });

  await t.test('resolved, and three weeks later a new matter that is related', async () => {
    await world.resolve(seen.first.conversationId);
    // Only time does this; everything else goes by the contract.
    database.query(`UPDATE conversations SET resolved_at = resolved_at - interval '21 days' WHERE state = 'RESOLVED'`);
    database.query(`UPDATE interactions SET ended_at = ended_at - interval '21 days' WHERE state = 'ENDED'`);
    const late = letter('Re: Broken kettle', 'The new one is broken, too.', { to: seen.answer.replyTo, header: [`In-Reply-To: ${seen.answer.id}`, `References: ${seen.first.id} ${seen.answer.id}`] });
    await mail.submit({ user: customer, to: seen.answer.replyTo, raw: late.raw });
    const said = await world.said('The new one is broken, too.');
    assert.notEqual(said.conversationId, seen.first.conversationId);
    const i = await view(said.interactionId);
    assert.deepEqual(i.conversation.related.map((c) => c.id), [seen.first.conversationId]);
  });

  await t.test('every file lies in the bucket, and none at a node', async (s) => {
    const sizes = await objects.sizes();
    const total = [...sizes.values()].reduce((sum, n) => sum + n, 0);
    s.diagnostic(`${sizes.size} objects, ${total} bytes`);
    assert.ok(total > 7_000_000, `${total} bytes`); // what was put up and what came with her mail
    for (const node of [north, south]) assert.ok(!existsSync(join(node.data, 'files')), `${node.data} has files of its own`);
  });

  await t.test('a stream that moved between the nodes has applied everything once', async (s) => {
    const { count } = await moving.equalsTwin();
    s.diagnostic(`${count} events over seven connections at two nodes`);
  });
  await within('the streams end', Promise.all([moving.close(), ann.stream.close(), ben.stream.close(), visitor.stream.close()]));
}
