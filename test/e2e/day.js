// A day at a desk, from the first word to the last count: two agents, a supervisor, ten customers over a web chat and a
// bridge, everything through the contract. What was done is written down beside it, and compared at the end.
import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { Platform } from './bridge.js';
import { Client, Stream, eventStream, put, unique, until, visitorStream } from './client.js';
import { Visitor, World, claimInteraction, sendMessage } from './world.js';

const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
const errors = 'userErrors { code message conflict { id } }';
const onContact = (name) => `mutation($id: ID!) { ${name}(id: $id) { interaction { id state agent { id } consultants { id } conversation { id state } } ${errors} } }`;
const onMatter = (name) => `mutation($id: ID!) { ${name}(id: $id) { conversation { id state owner { id } } ${errors} } }`;
const transfer = `mutation($id: ID!, $to: TransferInput!) { interactionTransfer(id: $id, input: $to) { interaction { id state consultants { id } } ${errors} } }`;
const resolve = `mutation($id: ID!, $all: Boolean) { conversationResolve(id: $id, input: { endOthers: $all }) { conversation { id state } servedBy { id } ${errors} } }`;

/** What was done in each matter, in its order: what its timeline must say. */
class Ledger {
  constructor() {
    this.items = new Map(); // conversation → [sort, id]
    this.lines = new Map(); // customer → ids of what we told him
  }

  note(conversationId, ...item) {
    this.items.set(conversationId, [...(this.items.get(conversationId) ?? []), item]);
  }

  told(name, id) {
    this.lines.set(name, [...(this.lines.get(name) ?? []), id]);
  }
}

/** A visitor whom the operator's own system knows. */
async function known(node, site, secret, externalId) {
  const visitor = new Visitor();
  visitor.site = site;
  visitor.client = new Client(node.url);
  const token = JSON.stringify({ externalId, hash: createHmac('sha256', secret).update(externalId).digest('hex') });
  const visit = await visitor.client.do(`mutation($site: Key!, $token: String) {
    visitorSessionStart(input: { siteKey: $site, identityToken: $token }) { token visitorToken eventCursor userErrors { code message } } }`, { site, token });
  visitor.client.token = visit.token;
  visitor.stream = new Stream(visitor.client, visitorStream, { after: visit.eventCursor });
  return visitor;
}

/** The platform, which can be told to lose its answer. */
async function moody() {
  const platform = await Platform.start();
  const plain = platform.answer.bind(platform);
  platform.losing = 0;
  platform.answer = (request, response) => {
    if (platform.losing > 0 && request.method === 'POST') {
      platform.losing -= 1;
      request.resume().on('end', () => response.writeHead(500).end());
      return;
    }
    plain(request, response);
  };
  return platform;
}

export class Day {
  static async begin(t, node) {
    const day = new Day();
    const platform = await moody();
    t.after(() => platform.stop());
    const world = await World.create(node);
    const team = await world.team('Desk');
    const vault = await world.team('Vault');
    Object.assign(day, { t, node, platform, world, team, ledger: new Ledger() });
    day.main = await world.queue('main', { teamId: team });
    day.calm = await world.queue('calm', { teamId: team, wrapUpSeconds: 600 });
    day.quick = await world.queue('quick', { teamId: team, offerSeconds: 1, breakAfterMisses: 2 });
    day.closed = await world.queue('closed', { teamId: vault, restricted: true });
    day.ann = await world.agent('Ann', { teams: [team] });
    day.ben = await world.agent('Ben', { teams: [team] });
    day.sue = await world.agent('Sue', { role: 'supervisor', scope: 'TEAMS', teams: [team] });
    day.vic = await world.agent('Vic', { scope: 'TEAMS', teams: [vault] });
    for (const a of [day.ann, day.ben, day.sue, day.vic]) await a.status('BUSY'); // offers come when a step asks for them
    day.secret = unique('an identity secret of thirty-two bytes or more');
    day.site = await world.channel({ kind: 'webchat', name: unique('site'), config: {}, queueId: day.main, secrets: [{ name: 'identitySecret', value: day.secret }] });
    day.bridge = await world.bridge(platform, day.main);
    day.calmBridge = await world.bridge(platform, day.calm);
    day.quickBridge = await world.bridge(platform, day.quick);
    day.closedBridge = await world.bridge(platform, day.closed);
    day.visitors = [];
    return day;
  }

  /** A customer by name: one who chats, or one who writes through a bridge. */
  async visitor(name, externalId) {
    const visitor = externalId ? await known(this.node, this.site.address, this.secret, externalId) : await Visitor.come(this.node, this.site.address);
    await visitor.stream.open();
    visitor.name = name;
    this.visitors.push(visitor);
    return visitor;
  }

  customer(name, bridge = this.bridge, more) {
    return Object.assign(bridge.customer(name, more), { name });
  }

  /** Lets a customer speak; the contact that his word went to. */
  async says(who, reader = this.world.log) {
    const place = this.world.log.mark();
    const said = await who.say(unique('word'));
    const text = said.text ?? said;
    const event = await reader.heard(`somebody reads ${text}`, (e) => e.type === 'MESSAGE_CREATED' && e.subject?.text === text);
    const contact = { who, interactionId: event.interactionId, conversationId: event.conversationId, messageId: event.subjectId, place };
    this.ledger.note(contact.conversationId, 'MESSAGE', contact.messageId);
    return contact;
  }

  async claims(agent, contact) {
    await agent.client.do(claimInteraction, { id: contact.interactionId });
    this.ledger.note(contact.conversationId, 'ASSIGNMENT', agent.id);
  }

  async accepts(agent, contact, from = contact.place) {
    const offer = await this.world.offered(contact.interactionId, from, 20_000);
    assert.equal(offer.agentId, agent.id);
    await agent.accept(offer);
    this.ledger.note(contact.conversationId, 'ASSIGNMENT', agent.id);
    return offer;
  }

  async answers(agent, contact, more = {}) {
    const message = await agent.say(contact.interactionId, unique('answer'), more);
    this.ledger.note(contact.conversationId, 'MESSAGE', message.id);
    this.ledger.told(contact.who.name, message.id);
    return message;
  }

  /** A contact that an agent has taken by hand. */
  async served(agent, who) {
    const contact = await this.says(who);
    await this.claims(agent, contact);
    return contact;
  }

  async used(agent) {
    return (await agent.client.ask('{ viewer { agent { capacity { channelKind used } } } }')).agent.capacity.find((c) => c.channelKind === null).used;
  }

  step(name, run) {
    return this.t.test(name, (s) => run(s, this));
  }
}

const context = `query($id: ID!) { offer(id: $id) { id reasons interaction { channelKind
  customer { displayName identities { kind verification } conversations(first: 5) { nodes { id state number } } }
  messages(last: 5) { nodes { text attachments { kind state name url } } } } } }`;

export async function morning(day) {
  const { ann, ben, world, platform } = day;

  await day.step('an offer comes with who he is, how we know him, what is open and what was said', async () => {
    const lin = await day.visitor('Lin', 'customer-lin');
    day.lin = { chat: await day.served(ann, lin) };
    const writes = day.customer('Lin by mail', day.bridge, { customerId: 'customer-lin' });
    const url = platform.file(`/${unique('broken')}.png`, 'image/png', png);
    const text = unique('pictured');
    await writes.bridge.deliver(writes.message({ type: 'text', text }, { type: 'image', url, name: 'broken.png', bytes: png.length }));
    const contact = { who: writes, ...(await world.said(text)) };
    assert.equal(contact.conversationId, day.lin.chat.conversationId, 'his one open matter');
    day.ledger.note(contact.conversationId, 'MESSAGE', contact.messageId);
    await ben.status('AVAILABLE');
    const offer = await world.offered(contact.interactionId, contact.place);
    await ben.asked(offer);
    const shown = await until('the picture is there', async () => {
      const got = await ben.client.ask(context, { id: offer.id });
      return got.interaction.messages.nodes[0].attachments[0].state === 'READY' && got;
    });
    const { customer, messages } = shown.interaction;
    assert.deepEqual(customer.identities.map((i) => [i.kind, i.verification]).sort(), [['custom_id', 'CHANNEL_PROVED'], ['external_id', 'STRONG']]);
    assert.deepEqual(customer.conversations.nodes.map((c) => [c.id, c.state]), [[contact.conversationId, 'OPEN']]);
    assert.deepEqual(messages.nodes.map((m) => [m.text, m.attachments[0].kind, m.attachments[0].name]), [[text, 'IMAGE', 'broken.png']]);
    await ben.accept(offer);
    day.ledger.note(contact.conversationId, 'ASSIGNMENT', ben.id);
    await ben.status('BUSY');
    day.lin.letter = contact;
  });

  await day.step('a declined offer goes to the next, and two that are missed make a BREAK', async () => {
    const contact = await day.says(day.customer('Mo', day.quickBridge));
    await ann.status('AVAILABLE');
    const first = await world.offered(contact.interactionId, contact.place);
    await ann.decline(first);
    await world.log.heard('Ann is on BREAK', (e) => e.type === 'AGENT_STATUS_CHANGED' && e.subjectId === ann.id && e.changed.includes('status'), { from: first.place, ms: 30_000 });
    const { status } = (await ann.client.ask('{ viewer { agent { status { state } } } }')).agent;
    assert.equal(status.state, 'BREAK');
    const i = await world.interaction(contact.interactionId);
    assert.deepEqual(i.offers.nodes.map((o) => [o.agent.id, o.state]).reverse(), [[ann.id, 'DECLINED'], [ann.id, 'EXPIRED'], [ann.id, 'EXPIRED']]);
    const mark = world.log.mark();
    await ben.status('AVAILABLE');
    await day.accepts(ben, contact, mark);
    await ann.status('BUSY');
    await ben.status('BUSY');
    await day.answers(ben, contact);
  });

  await day.step('a reply carries a picture, a note a mention', async () => {
    const { letter } = day.lin;
    const bytes = Buffer.concat([png, randomBytes(1024)]);
    const { target } = await ben.client.do(`mutation($input: UploadInput!) { attachmentUploadCreate(input: $input) {
      target { attachment { id } method url headers { key value } } userErrors { code message } } }`,
    { input: { name: 'map.png', contentType: 'image/png', bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') } });
    await put(target, bytes);
    const message = await day.answers(ben, letter, { attachmentIds: [target.attachment.id] });
    assert.deepEqual((await platform.got(message.id)).parts.map((p) => p.type), ['text', 'image']);
    const { note } = await ben.client.do(`mutation($input: NoteCreateInput!) { noteCreate(input: $input) { note { id mentions { id } } userErrors { code message } } }`,
      { input: { interactionId: letter.interactionId, text: 'he wants his money back', mentionIds: [ann.id] } });
    day.ledger.note(letter.conversationId, 'NOTE', note.id);
    await ann.stream.heard('the mention', (e) => e.type === 'MENTIONED' && e.subjectId === note.id);
    assert.deepEqual(platform.sends.get(message.id).length, 1);
  });
}

export async function noon(day) {
  const { ann, ben, sue, world } = day;

  await day.step('a cold transfer to a queue, a warm one to an agent, and a consultant', async () => {
    const contact = await day.served(ann, await day.visitor('Nia'));
    await ann.client.do(transfer, { id: contact.interactionId, to: { queueId: day.calm, reason: 'a refund' } });
    assert.equal((await world.interaction(contact.interactionId)).state, 'QUEUED');
    await day.claims(ben, contact);
    await day.answers(ben, contact);
    await ann.status('AVAILABLE');
    const mark = world.log.mark();
    const warm = await ben.client.do(transfer, { id: contact.interactionId, to: { agentId: ann.id, mode: 'WARM' } });
    assert.deepEqual([warm.interaction.state, warm.interaction.consultants.map((a) => a.id)], ['OFFERED', [ben.id]]);
    day.ledger.note(contact.conversationId, 'ASSIGNMENT', ben.id);
    await day.answers(ben, contact); // he stays, and may write
    await day.accepts(ann, contact, mark);
    await ben.client.refused('SERVED_BY_OTHERS', sendMessage, { id: contact.interactionId, input: { text: 'no more' } });
    const joined = await ben.client.do(onContact('interactionJoin'), { id: contact.interactionId });
    assert.deepEqual(joined.interaction.consultants.map((a) => a.id), [ben.id]);
    day.ledger.note(contact.conversationId, 'ASSIGNMENT', ben.id);
    await day.answers(ben, contact);
    await ben.client.do(onContact('interactionLeave'), { id: contact.interactionId });
    await ann.status('BUSY');
    const wrap = await ann.client.do(onContact('interactionEnd'), { id: contact.interactionId });
    assert.equal(wrap.interaction.state, 'WRAP_UP');
    const held = await day.used(ann);
    await ann.client.do(onContact('interactionWrapUp'), { id: contact.interactionId });
    assert.equal(await day.used(ann), held - 1, 'what is done carries nothing');
  });

  await day.step('a visitor ends his chat himself', async () => {
    const uma = await day.visitor('Uma');
    const contact = await day.served(ben, uma);
    await day.answers(ben, contact);
    await uma.client.do('mutation { visitorConversationEnd { userErrors { code message } } }');
    const i = await world.interaction(contact.interactionId);
    assert.deepEqual([i.state, i.conversation.state], ['ENDED', 'PENDING']);
  });

  await day.step('what waits for the customer comes back to its last agent; a snooze ends with his word', async () => {
    const oz = day.customer('Oz');
    const contact = await day.served(ben, oz);
    await day.answers(ben, contact);
    await ben.client.do(onContact('interactionPause'), { id: contact.interactionId });
    for (const a of [ann, ben]) await a.status('AVAILABLE');
    const back = await day.says(oz);
    assert.equal(back.interactionId, contact.interactionId);
    await day.accepts(ben, back);
    for (const a of [ann, ben]) await a.status('BUSY');
    await day.answers(ben, contact);
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const { conversation } = await ben.client.do(`mutation($id: ID!, $until: DateTime!) { conversationSnooze(id: $id, until: $until) {
      conversation { state snoozedUntil } userErrors { code message } } }`, { id: contact.conversationId, until });
    assert.equal(conversation.state, 'SNOOZED');
    await day.says(oz);
    assert.equal((await world.interaction(contact.interactionId)).conversation.state, 'OPEN');
    await day.answers(ben, contact);
    day.oz = { who: oz, contact };
  });

  await day.step('a resolve names who else serves, and ends him when it is told to; the matter is reopened and begun anew', async () => {
    const { chat, letter } = day.lin;
    const refused = await ann.client.ask(resolve, { id: chat.conversationId });
    assert.deepEqual([refused.userErrors[0].code, refused.servedBy.map((a) => a.id)], ['SERVED_BY_OTHERS', [ben.id]]);
    await day.answers(ann, chat);
    await ann.client.do(resolve, { id: chat.conversationId, all: true });
    for (const c of [chat, letter]) assert.equal((await world.interaction(c.interactionId)).state, 'ENDED');
    const { conversation } = await ann.client.do(onMatter('conversationReopen'), { id: chat.conversationId });
    assert.equal(conversation.state, 'PENDING');
    const open = await ann.client.ask(`query($id: ID!) { conversation(id: $id) { interactions(first: 9) { nodes { id state } } } }`, { id: chat.conversationId });
    assert.deepEqual(open.interactions.nodes.map((i) => i.state), ['PAUSED', 'ENDED'], "the owner's own comes back");
    const begun = await ann.client.do(`mutation($id: ID!, $channel: ID!) { interactionStart(conversationId: $id, channelId: $channel) {
      interaction { id state direction } ${errors} } }`, { id: chat.conversationId, channel: day.bridge.id });
    assert.deepEqual([begun.interaction.state, begun.interaction.direction], ['ACTIVE', 'OUTBOUND']);
    day.ledger.note(chat.conversationId, 'ASSIGNMENT', ann.id);
    const anew = { ...letter, interactionId: begun.interaction.id };
    const message = await day.answers(ann, anew);
    assert.equal((await day.platform.got(message.id)).thread, letter.who.thread);
    day.lin.anew = anew;
  });

  await day.step('of claims at once one wins, and the others learn who', async () => {
    const contact = await day.says(day.customer('Pia'));
    const tries = await Promise.all([ann, ben, sue].map((a) => a.client.ask(claimInteraction, { id: contact.interactionId })));
    const winner = (await world.interaction(contact.interactionId)).agent.id;
    day.ledger.note(contact.conversationId, 'ASSIGNMENT', winner);
    const lost = tries.filter((p) => p.userErrors.length > 0);
    assert.equal(lost.length, 2);
    for (const p of lost) assert.deepEqual([p.userErrors[0].code, p.userErrors[0].conflict.id], ['ALREADY_TAKEN', winner]);
    await day.answers([ann, ben, sue].find((a) => a.id === winner), contact);
  });
}

export async function evening(day) {
  const { ann, ben, sue, vic, world, platform } = day;

  await day.step('of a restricted queue another team sees that there is something, and not what', async () => {
    const who = (bridge) => day.customer('Quin', bridge, { customerId: 'customer-quin' });
    const plain = await day.served(ann, who(day.bridge));
    const hidden = await day.says(who(day.closedBridge), vic.stream);
    assert.equal(hidden.conversationId, plain.conversationId);
    await day.claims(vic, hidden);
    await day.answers(vic, hidden);
    const query = `query($id: ID!) { conversation(id: $id) { interactions(first: 9) { totalCount nodes { id withheld messages(first: 9) { totalCount nodes { text } } } }
      timeline(first: 50) { nodes { type ... on MessageItem { message { text } } } } } }`;
    const [seen, whole] = await Promise.all([sue, vic].map((a) => a.client.ask(query, { id: plain.conversationId })));
    const counts = (c) => c.interactions.nodes.map((i) => [i.withheld, i.messages.totalCount, i.messages.nodes.length]);
    assert.deepEqual([seen.interactions.totalCount, counts(seen)], [2, [[false, 1, 1], [true, 0, 0]]]);
    assert.deepEqual(counts(whole), [[false, 1, 1], [false, 2, 2]]);
    const items = (c) => c.timeline.nodes.filter((i) => i.type === 'MESSAGE').map((i) => i.message !== null);
    assert.deepEqual([items(seen), items(whole)], [[false, false, true], [true, true, true]]);
    assert.equal(await sue.client.ask('query($id: ID!) { node(id: $id) { id } }', { id: hidden.messageId }), null);
    await sue.client.refused('NOT_ALLOWED', sendMessage, { id: hidden.interactionId, input: { text: 'let me see' } });
    const told = await sue.stream.heard('that something was said', (e) => e.subjectId === hidden.messageId && e.type === 'MESSAGE_CREATED');
    assert.equal(told.subject, null, 'and not what');
    day.quin = [plain, hidden];
  });

  await day.step('a message in doubt is settled, and another one is sent again', async () => {
    const contact = await day.served(ann, day.customer('Rex'));
    const doubt = async () => {
      platform.losing = 1;
      const message = await ann.say(contact.interactionId, unique('in doubt'));
      day.ledger.note(contact.conversationId, 'MESSAGE', message.id);
      await world.log.heard('nobody knows', (e) => e.type === 'MESSAGE_UPDATED' && e.subjectId === message.id && e.subject.delivery === 'UNCERTAIN');
      return message;
    };
    const [one, two] = [await doubt(), await doubt()];
    const list = await ann.client.ask('{ unsettledMessages(first: 10) { nodes { id delivery } } }');
    assert.deepEqual(list.nodes.map((m) => m.id).sort(), [one.id, two.id].sort());
    const settle = await ann.client.do(`mutation($id: ID!) { messageSettle(id: $id, arrived: true) { message { delivery } userErrors { code message } } }`, { id: one.id });
    assert.equal(settle.message.delivery, 'SENT');
    await ann.client.do(`mutation($id: ID!) { messageSendAgain(id: $id) { message { delivery } userErrors { code message } } }`, { id: two.id });
    day.ledger.told('Rex', two.id);
    await platform.got(two.id);
    assert.equal(platform.sends.get(one.id), undefined, 'what was settled was not sent again');
  });

  await day.step('work that was given up is done when it is asked for again', async () => {
    const who = day.customer('Sol');
    const path = `/${unique('late')}.png`;
    const text = unique('late picture');
    await who.bridge.deliver(who.message({ type: 'text', text }, { type: 'image', url: platform.url + path, name: 'late.png', bytes: png.length }));
    const contact = { who, ...(await world.said(text)) };
    day.ledger.note(contact.conversationId, 'MESSAGE', contact.messageId);
    const [letter] = await until('it is given up', async () => {
      const { nodes } = await world.admin.ask('{ deadLetters(first: 10) { nodes { id kind state error } } }');
      return nodes.length > 0 && nodes;
    });
    platform.file(path, 'image/png', png);
    await world.admin.do('mutation($ids: [ID!]!) { deadLetterRetry(ids: $ids) { deadLetters { id } userErrors { code message } } }', { ids: [letter.id] });
    await until('the picture is there', async () => {
      const m = await world.admin.ask('query($id: ID!) { message(id: $id) { attachments { state } } }', { id: contact.messageId });
      return m.attachments[0].state === 'READY';
    });
    await day.claims(sue, contact);
    await day.answers(sue, contact);
  });

  await day.step('an agent whose socket is cut loses his work to the queue', async (s) => {
    const contact = await day.served(ben, await day.visitor('Tia'));
    const from = world.log.mark();
    ben.stream.cut();
    const began = performance.now();
    await world.log.heard('it waits again', (e) => e.type === 'INTERACTION_UPDATED' && e.interactionId === contact.interactionId && e.subject.interactionState === 'QUEUED',
      { from, ms: 75_000 });
    s.diagnostic(`${((performance.now() - began) / 1000).toFixed(1)} s after the cut; the lease is 30 s`);
    await until('all that he served is given back', async () => await day.used(ben) === 0);
    await ben.stream.resume();
    await day.claims(sue, contact);
    await day.answers(sue, contact);
  });
}

export async function night(day) {
  const { ann, ben, sue, vic, world, platform, ledger } = day;

  await day.step('the timelines of matters and customers say what was done', async () => {
    const items = 'timeline(first: 100) { nodes { type ... on MessageItem { message { id } } ... on NoteItem { note { id } } ... on AssignmentItem { assignment { agent { id } } } } }';
    const plain = (list) => list.nodes.filter((i) => i.type !== 'CHANGE').map((i) => [i.type, (i.message ?? i.note ?? i.assignment.agent).id]).reverse();
    for (const [id, done] of ledger.items) {
      const { client } = id === day.quin[0].conversationId ? vic : { client: world.admin }; // what is withheld he alone reads
      const c = await client.ask(`query($id: ID!) { conversation(id: $id) { customer { id } ${items} } }`, { id });
      assert.deepEqual(plain(c.timeline), done);
      const mine = await client.ask(`query($id: ID!) { customer(id: $id) { conversations(first: 9) { totalCount } ${items} } }`, { id: c.customer.id });
      assert.deepEqual([mine.conversations.totalCount, plain(mine.timeline)], [1, done], 'he has this one matter, over all his channels');
    }
    const kinds = await world.admin.ask(`query($id: ID!) { conversation(id: $id) { interactions(first: 9) { nodes { channelKind } } } }`, { id: day.lin.chat.conversationId });
    assert.deepEqual(new Set(kinds.interactions.nodes.map((i) => i.channelKind)), new Set(['webchat', 'custom']));
  });

  await day.step('at the end nothing is open and nobody carries anything', async () => {
    for (const id of ledger.items.keys()) await (id === day.quin[0].conversationId ? vic.client.do(resolve, { id, all: true }) : world.resolve(id));
    const open = await world.admin.ask('{ conversations(first: 1, filter: { states: [OPEN, PENDING, SNOOZED] }) { totalCount } }');
    const going = await world.admin.ask('{ interactions(first: 1, filter: { states: [IN_FLOW, QUEUED, OFFERED, ACTIVE, PAUSED, WRAP_UP] }) { totalCount } }');
    assert.deepEqual([open.totalCount, going.totalCount], [0, 0]);
    for (const a of [ann, ben, sue, vic]) assert.equal(await day.used(a), 0, `${a.name} carries nothing`);
  });

  await day.step('every customer got each line exactly once', async () => {
    const seen = new Map();
    for (const v of day.visitors) seen.set(v.name, (await v.history()).filter((m) => !m.mine).map((m) => m.id));
    for (const [name, ids] of ledger.lines) {
      const chat = seen.get(name);
      if (chat) {
        assert.deepEqual(chat, ids, name);
        const v = day.visitors.find((x) => x.name === name);
        await v.sees(ids.at(-1));
        assert.deepEqual(v.told().filter((m) => !m.mine).map((m) => m.id), ids, `${name}, live`);
      } else {
        for (const id of ids) await platform.got(id);
      }
    }
    const all = [...ledger.lines].filter(([name]) => !seen.has(name)).flatMap(([, ids]) => ids);
    assert.deepEqual([...platform.sends.keys()].sort(), all.sort(), 'and nothing else');
    assert.equal(ledger.lines.size, 11, 'ten customers, one of them over two channels');
  });

  await day.step('the stream from its cursor is what the pull twin gives', async (s) => {
    const replay = await new Stream(world.admin, eventStream, { after: world.log.start, filter: { scope: 'ALL' } }).open();
    for (const a of [{ name: 'Ada, who sees all, from the morning on', stream: replay }, ann, ben, sue, vic]) {
      assert.deepEqual(a.stream.resets, [], `${a.name} was never told to begin anew`);
      const { count } = await a.stream.equalsTwin();
      s.diagnostic(`${a.name}: ${count} events`);
    }
    for (const v of day.visitors) await v.stream.close();
    for (const a of [ann, ben, sue, vic]) await a.stream.close();
    await replay.close();
    await world.log.close();
  });
}
