// A customer chats, then calls, and the agent answers in a real browser: the real program, a carrier of another make, and
// everything through the contract.
import assert from 'node:assert/strict';
import test, { before } from 'node:test';
import { CallPage, flags } from './callpage.js';
import { Carrier } from './carrier.js';
import { Browser, chromium } from './chromium.js';
import { get, unique, until } from './client.js';
import { Node, binary, build, freeAddress, postgres, postgresMissing } from './node.js';
import { judge, readWAV } from './tone.js';
import { Visitor, World, signed } from './world.js';

const name = chromium();

before(() => (name ? Promise.all([binary(), build('./test/sip/carrier')]) : null));

const number = '+8613800138000';
const [fromCaller, fromAgent] = [440, 660];
const stands = 5; // seconds that a tone has to stand without a break, 20 dB above all else
const slow = 30_000; // a deadline, never a figure

const offerView = `query($id: ID!) { offer(id: $id) { id state connecting interaction { id channelKind customer { id }
  conversation { id interactions(first: 9) { nodes { id channelKind messages(last: 5) { nodes { text } } } } } call { id state callerProof from { text } } } } }`;

const callView = `query($id: ID!) { call(id: $id) { id state endCause holdSeconds talkSeconds recordingState digits { text masked }
  legs { role state browser held } recordings { seconds url } interaction { state agent { id } conversation { id } } } }`;

const answerCall = `mutation($id: ID!, $sdp: String!, $key: Key) { callAnswer(id: $id, sdpOffer: $sdp, idempotencyKey: $key) {
  sdpAnswer call { state } userErrors { code message field } } }`;

const renewMedia = `mutation($id: ID!, $sdp: String!) { callMediaRenew(id: $id, sdpOffer: $sdp) { sdpAnswer call { state } userErrors { code message } } }`;

const holdCall = `mutation($id: ID!, $held: Boolean!) { callHold(id: $id, held: $held) { call { state } userErrors { code message } } }`;

/** A desk with a trunk and a site, and one agent at it. */
async function open(t, later, databaseURL) {
  const trunk = await freeAddress();
  const node = await Node.start({ databaseURL, more: ['--sip-trunk', trunk, '--media-ports', '40000-41999'] });
  later.push(async () => {
    await node.kill();
    if (!later.done || process.env.TEST_LOG) console.error(node.log.slice(-8000));
  });
  const world = await World.create(node);
  const queue = await world.queue('calls', { recording: 'ALWAYS', ringSeconds: 20 });
  const secret = unique('an identity secret of thirty-two bytes or more');
  const site = await world.channel({ kind: 'webchat', name: unique('site'), config: {}, queueId: queue, secrets: [{ name: 'identitySecret', value: secret }] });
  await world.channel({ kind: 'voice', name: unique('trunk'), queueId: queue, config: { addresses: ['127.0.0.1'], country: 'CN', trustsCallerId: true } });
  const ann = await world.agent('Ann');
  await besides(world, ann);
  const carrier = await Carrier.start(trunk);
  later.push(() => carrier.end());
  return { node, world, ann, carrier, site, secret };
}

/** Lets an agent take a call beside his chats, which nobody does unless it is said so. */
async function besides(world, agent) {
  const input = { name: unique('chat and call'), units: 4, rules: [{ channelKind: 'voice', unitsEach: 1, maxAtOnce: 1, blocksOthers: false }] };
  const { capacityProfile } = await world.admin.do(`mutation($input: CapacityProfileCreateInput!) {
    capacityProfileCreate(input: $input) { capacityProfile { id } userErrors { code message field } } }`, { input });
  await world.admin.do(`mutation($id: ID!, $profile: ID!) { agentUpdate(id: $id, input: { capacityProfileId: $profile }) { userErrors { code message } } }`,
    { id: agent.id, profile: capacityProfile.id });
}

/** A word of a visitor whose number the operator vouches for, taken by the agent. */
async function chat({ node, world, ann, site, secret }) {
  const token = signed(secret, site.address, { sub: unique('customer'), name: 'May', phone: number });
  const visitor = await Visitor.come(node, site.address, undefined, token);
  const { text } = await visitor.say(unique('before I call'));
  const contact = { text, ...(await world.said(text)) };
  await ann.accept(await world.offered(contact.interactionId, contact.place));
  return contact;
}

/** The offer of a call, as the agent's own socket tells it. */
async function offered(ann, from) {
  const seen = new Set();
  for (;;) {
    const event = await ann.stream.heard('an offer', (e) => e.type === 'OFFER_CREATED' && e.subject?.agent?.id === ann.id && !seen.has(e.subjectId), { from, ms: slow });
    seen.add(event.subjectId);
    const offer = await ann.client.ask(offerView, { id: event.subjectId });
    if (offer.interaction.call) return offer;
  }
}

/** Waits until the caller hears something that nobody says. */
async function music(carrier) {
  await until('the caller hears music', async () => {
    const { verdict } = await carrier.do('judge', { hz: fromAgent, seconds: 1 });
    return verdict.Silent < 0.5 && verdict.Longest < 0.2;
  }, slow);
}

/** Both hear each other. */
async function talk(s, page, carrier, when) {
  const caller = carrier.hears(fromAgent, stands);
  const [agent, far] = await Promise.all([page.hears(fromCaller, stands, 40_000), caller]);
  s.diagnostic(`${when}: the browser hears ${JSON.stringify(agent)}`);
  s.diagnostic(`${when}: the caller hears ${JSON.stringify(far)}`);
  assert.ok(agent.level >= 20 && far.Level >= 20);
}

async function answered(t, later, browser, databaseURL) {
  const desk = await open(t, later, databaseURL);
  const { world, ann, carrier } = desk;
  const call = (id) => world.admin.ask(callView, { id });
  const used = async () => (await ann.client.ask('{ viewer { agent { capacity { channelKind used } } } }')).agent.capacity.find((c) => c.channelKind === null).used;

  const contact = await chat(desk);
  const chatting = await used();
  const from = ann.stream.mark();
  await carrier.do('call', { from: '13800138000', pai: number, to: '02112345678', hz: fromCaller });
  await music(carrier);
  const offer = await offered(ann, from);
  const { interaction } = offer;
  assert.deepEqual([interaction.channelKind, interaction.call.callerProof, interaction.conversation.id], ['voice', 'CONFIRMED', contact.conversationId]);
  const [chatted] = interaction.conversation.interactions.nodes.filter((i) => i.id === contact.interactionId);
  assert.deepEqual(chatted.messages.nodes.map((m) => m.text), [contact.text], 'the offer shows what was said before');
  const { id } = interaction.call;

  const page = await CallPage.open(browser);
  later.push(() => page.close());
  const sdp = await page.offer();
  const key = unique('answer');
  const { sdpAnswer } = await ann.client.do(answerCall, { id, sdp, key });
  const again = await ann.client.do(answerCall, { id, sdp, key });
  assert.equal(again.sdpAnswer, sdpAnswer, 'again with its key: the same answer');
  await page.accept(sdpAnswer);
  await until('they talk', async () => (await call(id)).state === 'ACTIVE', slow);
  await talk(t, page, carrier, 'at first');
  const during = await call(id);
  assert.equal(await used(), chatting + 1, 'the agent carries the chat and the call');
  assert.deepEqual([during.recordingState, during.interaction.state, during.interaction.agent.id], ['RECORDING', 'ACTIVE', ann.id]);
  assert.deepEqual(during.legs.map((l) => [l.role, l.state, l.browser]).sort(), [['AGENT', 'ACTIVE', true], ['CUSTOMER', 'ACTIVE', false]]);

  assert.equal((await ann.client.do(holdCall, { id, held: true })).call.state, 'HELD');
  await music(carrier);
  await page.silent(1);
  assert.equal((await ann.client.do(holdCall, { id, held: false })).call.state, 'ACTIVE');
  await talk(t, page, carrier, 'after the hold');

  await carrier.do('digits', { digits: '12#' });
  await until('the keys are told', async () => (await call(id)).digits?.text === '12#', slow);
  await page.insertDTMF('90*');
  await until('the caller gets the keys', async () => (await carrier.do('digitsReceived')).digits === '90*', slow);

  await page.reconnect(); // as after a reload
  const renewed = await ann.client.do(renewMedia, { id, sdp: await page.offer() });
  await page.accept(renewed.sdpAnswer);
  await talk(t, page, carrier, 'after the keys and a reload');

  await carrier.do('hangup');
  const after = await until('the call is over', async () => {
    const c = await call(id);
    return c.state === 'ENDED' && c.recordings.length > 0 && c;
  }, slow);
  assert.deepEqual([after.endCause, after.interaction.conversation.id], ['CUSTOMER_HUNG_UP', contact.conversationId]);
  assert.ok(after.holdSeconds >= 1 && after.talkSeconds >= 2 * stands, JSON.stringify(after));
  await until('the agent is free of the call', async () => await used() === chatting, slow);

  const sound = readWAV((await get(after.recordings[0].url)).bytes);
  assert.equal(sound.length, 2);
  [fromCaller, fromAgent].forEach((hz, n) => {
    const heard = judge(sound[n], hz);
    t.diagnostic(`channel ${n} of the recording: ${JSON.stringify(heard)}`);
    assert.ok(heard.longest >= stands, `channel ${n}: ${JSON.stringify(heard)}`);
  });
  assert.deepEqual(page.page.failures, []);
}

function skipped(t, why) {
  if (!why) return false;
  console.error(`${'#'.repeat(72)}\n# SKIPPED: ${t.name}: ${why}\n${'#'.repeat(72)}`);
  if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error(`TEST_REQUIRE_SERVERS=1, and ${why}`);
  t.skip(why);
  return true;
}

async function all(t, databaseURL) {
  const later = []; // what has to end, the last one first
  try {
    const browser = await Browser.start(name, flags);
    later.push(() => browser.stop());
    await answered(t, later, browser, databaseURL);
    later.done = true;
  } finally {
    for (const end of later.reverse()) await end();
  }
}

test('a call answered in the browser, on sqlite', { timeout: 300_000 }, async (t) => {
  if (skipped(t, name ? '' : 'chromium is not installed')) return;
  await all(t);
});

test('a call answered in the browser, on postgres', { timeout: 300_000 }, async (t) => {
  if (skipped(t, name ? postgresMissing() : 'chromium is not installed')) return;
  const database = postgres(process.env.TEST_DATABASE_URL);
  try {
    await all(t, database.url);
  } finally {
    database.drop();
  }
});
