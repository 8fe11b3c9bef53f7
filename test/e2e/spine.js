// The spine: a word comes in, is offered, taken, answered, and nothing of it is lost, doubled or seen by a stranger.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Platform } from './bridge.js';
import { get, patience, put, unique, until, within } from './client.js';
import { Visitor, World, acceptOffer, claimInteraction, dense, sendMessage, visitorSays } from './world.js';

const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');

/** A picture that no other test has. */
const picture = () => Buffer.concat([png, randomBytes(4096)]);

const announce = (bytes) => ({ name: 'photo.png', contentType: 'image/png', bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });

/** A small generator whose seed can be given back (mulberry32). */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Looks all the time at how many offers of one interaction are pending. */
class Watch {
  constructor(world) {
    this.looks = 0;
    this.worst = 0;
    this.on = true;
    this.done = this.run(world).catch((error) => { this.error = error; });
  }

  async run(world) {
    while (this.on) {
      const list = await world.admin.ask(`{ interactions(first: 50, filter: { states: [QUEUED, OFFERED, ACTIVE] }) {
        nodes { id state offers(first: 10) { nodes { id state } } } } }`);
      for (const i of list.nodes) {
        this.worst = Math.max(this.worst, i.offers.nodes.filter((o) => o.state === 'PENDING').length);
      }
      this.looks += 1;
      await new Promise((resolve) => setTimeout(resolve, 50)); // a pace, not a wait
    }
  }

  async stop() {
    this.on = false;
    await this.done;
    if (this.error) throw this.error;
  }
}

/** The most offers of one interaction that were open at once, by the log's order. */
function mostOpen(events) {
  const open = new Map();
  let most = 0;
  for (const e of events) {
    const set = open.get(e.interactionId) ?? new Set();
    if (e.type === 'OFFER_CREATED') set.add(e.subjectId);
    else if (e.type === 'OFFER_CLOSED') set.delete(e.subjectId);
    else continue;
    open.set(e.interactionId, set);
    most = Math.max(most, set.size);
  }
  return most;
}

const messageState = 'query($id: ID!) { message(id: $id) { id delivery deliverySteps { state at } attachments { id name state kind contentType bytes sha256 url error } } }';

export async function spine(t, node) {
  const seed = Number(process.env.TEST_SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  const upTo = (n) => 1 + Math.floor(random() * n);

  const platform = await Platform.start();
  t.after(() => platform.stop());
  const world = await World.create(node);
  const elsewhere = await World.create(node);
  const eve = await elsewhere.agent('Eve', { scope: 'ALL' });
  const team = await world.team('Desk');
  const ann = await world.agent('Ann', { scope: 'ALL', teams: [team] });
  const ben = await world.agent('Ben', { scope: 'MINE', teams: [team] });
  const agents = new Map([[ann.id, ann], [ben.id, ben]]);
  const beside = (agent) => (agent === ann ? ben : ann);
  const queue = await world.queue('main', { teamId: team });
  const site = await world.site(queue);
  const bridge = await world.bridge(platform, queue);
  const watch = new Watch(world);
  t.after(() => { watch.on = false; });
  const sent = []; // ids of messages that the bridge must get
  const files = []; // ids of attachments
  const open = new Set(); // conversations of the present step

  /** A named step. What it opened is resolved at its end, also if it failed: capacity is what the next one needs. */
  const step = (name, run) => t.test(name, async (s) => {
    try {
      await run(s);
    } finally {
      for (const id of open) await world.resolve(id);
      open.clear();
    }
  });

  /** Follows a text to its offer and lets the asked agent take it. */
  async function taken(text) {
    const contact = await world.said(text);
    open.add(contact.conversationId);
    const offer = await world.offered(contact.interactionId, contact.place);
    const agent = agents.get(offer.agentId);
    await agent.accept(offer);
    return { ...contact, offer, agent };
  }

  /** Follows a text to its offer, and waits until the asked agent has heard of it. */
  async function asked(text) {
    const contact = await world.said(text);
    open.add(contact.conversationId);
    const offer = await world.offered(contact.interactionId, contact.place);
    const agent = agents.get(offer.agentId);
    await agent.asked(offer);
    return { ...contact, offer, agent };
  }

  async function answer(contact, text, more) {
    const message = await contact.agent.say(contact.interactionId, text, more);
    if (!contact.visitor) sent.push(message.id);
    return message;
  }

  const visitors = [await Visitor.come(node, site.address), await Visitor.come(node, site.address)];
  for (const v of visitors) await v.stream.open();
  const customers = [bridge.customer('Chen'), bridge.customer('Dora')];
  const chats = [];
  const letters = [];

  await step('the first offer comes to an able agent in time', async (s) => {
    for (const who of [...visitors, ...customers]) {
      const began = performance.now();
      const text = unique('hello');
      await who.say(text);
      const contact = await world.said(text);
      const offer = await world.offered(contact.interactionId, contact.place);
      const agent = agents.get(offer.agentId);
      const heard = (await agent.asked(offer)).heard - began;
      const by = who instanceof Visitor ? 'web chat' : 'custom channel';
      s.diagnostic(`${by}: the agent's socket had the offer ${heard.toFixed(0)} ms after the customer began to send`);
      assert.ok(heard < 10 * 1000, `${heard} ms; the must is 1 s, a test gives it ten times that`);
      const accepted = await agent.accept(offer);
      assert.equal(accepted.offer.state, 'ACCEPTED');
      const i = await world.interaction(contact.interactionId);
      assert.deepEqual([i.state, i.agent.id, i.conversation.owner.id], ['ACTIVE', agent.id, agent.id]);
      assert.equal(i.live, who instanceof Visitor, 'a visitor at the other end is live, a letter is not');
      if (who instanceof Visitor) chats.push({ ...contact, agent, visitor: who });
      else letters.push({ ...contact, agent, customer: who });
    }
  });

  await step('an answer is seen by the visitor and reaches the bridge once', async (s) => {
    for (const chat of chats) {
      const began = performance.now();
      const message = await answer(chat);
      const seen = await chat.visitor.sees(message.id);
      s.diagnostic(`web chat: the visitor had the answer after ${(performance.now() - began).toFixed(0)} ms`);
      assert.deepEqual([seen.text, seen.mine, seen.authorName, seen.number], [message.text, false, chat.agent.name, 2]);
    }
    for (const letter of letters) {
      const began = performance.now();
      const message = await answer(letter);
      const got = await platform.got(message.id);
      s.diagnostic(`custom channel: the bridge had the answer after ${(performance.now() - began).toFixed(0)} ms`);
      assert.equal(got.thread, letter.customer.thread);
      assert.deepEqual(got.to.map((p) => p.id), [letter.customer.from.id]);
      assert.deepEqual(got.parts, [{ type: 'text', text: message.text }]);
      await world.log.heard('SENT', (e) => e.type === 'MESSAGE_UPDATED' && e.subjectId === message.id && e.subject.delivery === 'SENT');
    }
    assert.equal(platform.forged, 0, 'all that reached the bridge was signed');
  });

  await step('a picture goes every way, byte by byte', async (s) => {
    await s.test('agent to visitor, and agent to bridge', async () => {
      for (const contact of [chats[0], letters[0]]) {
        const bytes = picture();
        const { target } = await contact.agent.client.do(`mutation($input: UploadInput!) { attachmentUploadCreate(input: $input) {
          target { attachment { id state } method url headers { key value } expiresAt } userErrors { code message } } }`, { input: announce(bytes) });
        assert.equal(target.attachment.state, 'EXPECTED');
        files.push(target.attachment.id);
        await put(target, bytes);
        const message = await answer(contact, 'look', { attachmentIds: [target.attachment.id] });
        let url;
        if (contact.visitor) {
          const [file] = (await contact.visitor.sees(message.id)).attachments;
          assert.deepEqual([file.contentType, file.bytes, file.name], ['image/png', bytes.length, 'photo.png']);
          url = file.url;
        } else {
          const part = (await platform.got(message.id)).parts.find((p) => p.type === 'image');
          assert.deepEqual([part.contentType, part.bytes, part.name], ['image/png', bytes.length, 'photo.png']);
          url = part.url;
        }
        const file = await get(url);
        assert.equal(file.type, 'image/png');
        assert.ok(file.bytes.equals(bytes), 'the bytes are those that were put up');
        const forged = new URL(url);
        forged.searchParams.set([...forged.searchParams.keys()][0], '1');
        assert.equal((await fetch(forged)).status, 403, 'an address that was changed opens nothing');
      }
    });

    await s.test('visitor to agent', async () => {
      const [chat] = chats;
      const bytes = picture();
      const { target } = await chat.visitor.client.do(`mutation($input: UploadInput!) { visitorUploadCreate(input: $input) {
        target { attachmentId method url headers { key value } expiresAt } userErrors { code message } } }`, { input: announce(bytes) });
      files.push(target.attachmentId);
      await put(target, bytes);
      const message = await chat.visitor.say('see', { attachmentIds: [target.attachmentId] });
      const { attachments: [file] } = await chat.agent.client.ask(messageState, { id: message.id });
      assert.deepEqual([file.state, file.kind, file.contentType, file.bytes, file.sha256], ['READY', 'IMAGE', 'image/png', bytes.length, announce(bytes).sha256]);
      assert.ok((await get(file.url)).bytes.equals(bytes));
    });

    await s.test('bridge to agent, fetched by a worker', async () => {
      const [letter] = letters;
      const bytes = picture();
      const url = platform.file(`/${unique('picture')}.png`, 'image/png', bytes);
      const text = unique('pictured');
      await letter.customer.bridge.deliver(letter.customer.message({ type: 'text', text }, { type: 'image', url, name: 'a.png', bytes: bytes.length }));
      const { messageId, interactionId } = await world.said(text);
      assert.equal(interactionId, letter.interactionId);
      await until('the picture is READY', async () => {
        const { attachments: [file] } = await letter.agent.client.ask(messageState, { id: messageId });
        assert.notEqual(file.state, 'FAILED', file.error);
        return file.state === 'READY';
      });
      const { attachments: [file] } = await letter.agent.client.ask(messageState, { id: messageId });
      assert.deepEqual([file.kind, file.contentType, file.bytes, file.name], ['IMAGE', 'image/png', bytes.length, 'a.png']);
      assert.ok((await get(file.url)).bytes.equals(bytes));
      assert.equal(platform.files.get(new URL(url).pathname).fetched, 1, 'it was fetched once');
      await world.log.heard('the file told at its message', (e) => e.type === 'MESSAGE_UPDATED' && e.subjectId === messageId && e.changed.includes('attachments'));
    });
  });

  await step('the customer writes again: same thread, same interaction; after resolve it reopens with its owner', async () => {
    for (const letter of letters) {
      const again = await world.said(await letter.customer.say());
      assert.deepEqual([again.interactionId, again.conversationId], [letter.interactionId, letter.conversationId]);
      const { conversation } = await letter.agent.resolve(letter.conversationId);
      assert.equal(conversation.state, 'RESOLVED');
      assert.equal((await world.interaction(letter.interactionId)).state, 'ENDED');
      const back = await asked(await letter.customer.say());
      assert.notEqual(back.interactionId, letter.interactionId, 'what ended stays so');
      assert.equal(back.conversationId, letter.conversationId, 'the matter is the same');
      assert.equal(back.agent, letter.agent, 'its owner is asked first');
      const i = await world.interaction(back.interactionId);
      assert.deepEqual([i.joinedBy, i.state, i.conversation.state, i.conversation.owner.id], ['THREAD', 'OFFERED', 'OPEN', letter.agent.id]);
      assert.ok(i.offers.nodes[0].reasons.includes('preferred_last_agent'), i.offers.nodes[0].reasons.join());
      await back.agent.accept(back.offer);
      await world.resolve(back.conversationId);
    }
  });

  await step('a declined offer goes to the other agent with its age', async () => {
    const first = await asked(await bridge.customer('Emil').say());
    const { offer } = await first.agent.decline(first.offer);
    assert.deepEqual([offer.state, offer.outcome], ['DECLINED', 'DECLINED']);
    const next = await world.offered(first.interactionId, first.offer.place);
    assert.equal(next.agentId, beside(first.agent).id);
    assert.equal(next.queuedAt, first.offer.queuedAt, 'it waits since it came');
    await first.agent.client.refused('WRONG_STATE', acceptOffer, { id: first.offer.id });
    await beside(first.agent).accept(next);
    assert.equal((await world.interaction(first.interactionId)).queuedAt, first.offer.queuedAt);
  });

  await step('a missed offer goes on with its age', async (s) => {
    const quick = await world.bridge(platform, await world.queue('quick', { teamId: team, offerSeconds: 1 }));
    const first = await asked(await quick.customer('Fay').say());
    const next = await world.offered(first.interactionId, first.offer.place, 11_000);
    s.diagnostic(`an offer of 1 s went on after ${(next.heard - first.offer.heard).toFixed(0)} ms`);
    assert.equal(next.agentId, beside(first.agent).id);
    assert.equal(next.queuedAt, first.offer.queuedAt);
    await beside(first.agent).accept(next);
    const i = await world.interaction(first.interactionId);
    assert.deepEqual(i.offers.nodes.map((o) => [o.state, o.outcome]), [['ACCEPTED', null], ['EXPIRED', 'EXPIRED']]);
    await first.agent.client.refused('OFFER_EXPIRED', acceptOffer, { id: first.offer.id });
  });

  await step('a claim takes the offer back; the late one learns who won', async () => {
    const first = await asked(await bridge.customer('Gus').say());
    const taker = beside(first.agent);
    await taker.client.refused('NOT_FOUND', acceptOffer, { id: first.offer.id }); // not his offer
    const { interaction } = await taker.client.do(claimInteraction, { id: first.interactionId });
    assert.deepEqual([interaction.state, interaction.agent.id], ['ACTIVE', taker.id]);
    const closed = await first.agent.stream.heard('the withdrawal', (e) => e.type === 'OFFER_CLOSED' && e.subjectId === first.offer.id);
    assert.equal(closed.subject.offerState, 'WITHDRAWN');
    const late = await first.agent.client.refused('ALREADY_TAKEN', acceptOffer, { id: first.offer.id });
    assert.equal(late.conflict.id, taker.id);
  });

  await step('of two who take at once one wins, and the other learns who', async (s) => {
    let claims = 0;
    for (let round = 0; round < 6; round += 1) {
      const first = await asked(await bridge.customer('Hal').say());
      const other = beside(first.agent);
      const [accepted, claimed] = await Promise.all([
        first.agent.client.ask(acceptOffer, { id: first.offer.id }),
        other.client.ask(claimInteraction, { id: first.interactionId }),
      ]);
      const i = await world.interaction(first.interactionId);
      const [won, lost, payload] = i.agent.id === other.id ? [claimed, accepted, other] : [accepted, claimed, first.agent];
      if (payload === other) claims += 1;
      assert.deepEqual(won.userErrors, []);
      assert.deepEqual(lost.userErrors.map((e) => [e.code, e.conflict?.id]), [['ALREADY_TAKEN', i.agent.id]]);
      await world.resolve(first.conversationId);
    }
    s.diagnostic(`${claims} of 6 were won by the claim`);
  });

  await step('a contact joins what is open of its customer', async () => {
    const side = await world.bridge(platform, queue);
    const apart = await world.bridge(platform, queue, { joinOpen: false });
    const customerId = unique('C');
    const first = await taken(await bridge.customer('Ida', { customerId }).say());
    assert.equal((await world.interaction(first.interactionId)).joinedBy, 'NEW');

    const second = await asked(await side.customer('Ida', { customerId }).say());
    assert.equal(second.conversationId, first.conversationId, 'the one open conversation');
    assert.equal(second.agent, first.agent, 'its owner is asked first');
    assert.equal((await world.interaction(second.interactionId)).joinedBy, 'OPEN_CONVERSATION');
    await second.agent.accept(second.offer);

    const third = await taken(await apart.customer('Ida', { customerId }).say());
    assert.notEqual(third.conversationId, first.conversationId, 'this channel does not join');
    const i = await world.interaction(third.interactionId);
    assert.deepEqual([i.joinedBy, i.customer.id], ['NEW', (await world.interaction(first.interactionId)).customer.id]);

    const fourth = await taken(await bridge.customer('Ida', { customerId }).say());
    assert.equal(fourth.conversationId, third.conversationId, 'of two open ones that active last');
    assert.equal((await world.interaction(fourth.interactionId)).joinedBy, 'GUESS');

    const stranger = await taken(await bridge.customer('Ida', { customerId: unique('C') }).say());
    assert.ok(![first.conversationId, third.conversationId].includes(stranger.conversationId), 'a name joins nobody');
    assert.equal((await world.interaction(stranger.interactionId)).joinedBy, 'NEW');
  });

  await step('a paused interaction comes back to who served it', async () => {
    for (const name of ['Jon', 'Kim']) { // two, so that both agents are served their own
      const customer = bridge.customer(name);
      const first = await taken(await customer.say());
      await answer(first);
      const used = async () => (await first.agent.client.ask('{ viewer { agent { capacity { channelKind used } } } }')).agent.capacity.find((c) => c.channelKind === null).used;
      const before = await used();
      const { interaction } = await first.agent.client.do(`mutation($id: ID!) { interactionPause(id: $id) {
        interaction { id state agent { id } conversation { state } } userErrors { code message } } }`, { id: first.interactionId });
      assert.deepEqual([interaction.state, interaction.agent, interaction.conversation.state], ['PAUSED', null, 'PENDING']);
      assert.equal(await used(), before - 1, 'the capacity is free');
      const back = await asked(await customer.say());
      assert.equal(back.interactionId, first.interactionId);
      const events = world.log.events.slice(back.place, back.offer.place).filter((e) => e.interactionId === first.interactionId).map((e) => e.type);
      assert.deepEqual(events.filter((type) => type !== 'MESSAGE_UPDATED'), ['MESSAGE_CREATED', 'INTERACTION_UPDATED', 'OFFER_CREATED'], 'queued before it is offered');
      assert.equal(back.agent, first.agent);
      const i = await world.interaction(first.interactionId);
      assert.ok(i.offers.nodes[0].reasons.includes('preferred_last_agent'), i.offers.nodes[0].reasons.join());
      assert.deepEqual([i.state, i.previousAgent.id, i.conversation.state], ['OFFERED', first.agent.id, 'OPEN']);
      await back.agent.accept(back.offer);
      await world.resolve(first.conversationId);
    }
  });

  await step('one key, one effect', async (s) => {
    await s.test('50 sends at once with one key are one message', async (d) => {
      const contact = await taken(await bridge.customer('Lea').say());
      const key = unique('key');
      const input = { text: unique('once') };
      let running = 0;
      const send = async () => {
        for (;;) {
          const payload = await contact.agent.client.ask(sendMessage, { id: contact.interactionId, input, key });
          if (payload.userErrors[0]?.code !== 'IDEMPOTENCY_IN_PROGRESS') return payload;
          assert.ok(payload.userErrors[0].retryable);
          running += 1;
        }
      };
      const answers = await Promise.all(Array.from({ length: 50 }, send));
      d.diagnostic(`${running} answers were IDEMPOTENCY_IN_PROGRESS and asked again`);
      assert.deepEqual(answers.flatMap((a) => a.userErrors), []);
      assert.equal(new Set(answers.map((a) => a.message.id)).size, 1);
      const [{ message }] = answers;
      sent.push(message.id);
      assert.equal(message.causedByKey, key);
      await platform.got(message.id);
      const list = await contact.agent.client.ask(`query($id: ID!) { interaction(id: $id) { messages(first: 100) { totalCount nodes { id text number } } } }`, { id: contact.interactionId });
      assert.equal(list.messages.nodes.filter((m) => m.text === input.text).length, 1);
      assert.deepEqual(list.messages.nodes.map((m) => m.number), [1, 2]);
      await world.log.heard('the sent message', (e) => e.subjectId === message.id && e.type === 'MESSAGE_CREATED' && e.causedByKey === key);

      await contact.agent.client.refused('IDEMPOTENCY_KEY_REUSED', sendMessage, { id: contact.interactionId, input: { text: 'other' }, key });
      const other = await taken(await bridge.customer('Lea').say());
      await contact.agent.client.refused('IDEMPOTENCY_KEY_REUSED', sendMessage, { id: other.interactionId, input, key });
      // The key is the actor's own: a colleague who happens to have the same one is not held back.
      const third = other.agent === contact.agent ? null : await other.agent.client.do(sendMessage, { id: other.interactionId, input, key });
      if (third) sent.push(third.message.id);
      for (const c of [contact, other]) await world.resolve(c.conversationId);
    });

    await s.test("a visitor's word that is said ten times at once is one", async () => {
      const [chat] = chats;
      const key = unique('key');
      const text = unique('once');
      const words = await Promise.all(Array.from({ length: 10 }, () => chat.visitor.client.do(visitorSays, { input: { text }, key })));
      assert.equal(new Set(words.map((w) => w.visitorMessage.id)).size, 1);
      const seen = await chat.visitor.sees(words[0].visitorMessage.id);
      assert.equal(seen.clientKey, key);
      await chat.visitor.client.refused('IDEMPOTENCY_KEY_REUSED', visitorSays, { input: { text: 'other' }, key });
    });

    await s.test('an event that a bridge repeats is one message', async () => {
      const customer = bridge.customer('Max');
      const text = unique('repeated');
      const event = customer.message({ type: 'text', text });
      const answers = await Promise.allSettled(Array.from({ length: 10 }, () => bridge.deliver(event)));
      assert.ok(answers.some((a) => a.status === 'fulfilled'));
      for (const a of answers) if (a.status === 'rejected') await bridge.deliver(event); // a bridge repeats what was not taken
      const contact = await taken(text);
      await bridge.deliver(event);
      const after = await world.said(await customer.say());
      assert.equal(after.interactionId, contact.interactionId);
      const told = world.log.events.filter((e) => e.type === 'MESSAGE_CREATED' && e.interactionId === contact.interactionId);
      assert.equal(told.length, 2);
      await world.resolve(contact.conversationId);
    });

    await s.test('ten first words at once open one interaction', async () => {
      const customer = bridge.customer('Meg');
      const visitor = await Visitor.come(node, site.address);
      await visitor.stream.open();
      for (const who of [customer, visitor]) {
        const texts = Array.from({ length: 10 }, () => unique('first'));
        await Promise.all(texts.map((text) => who.say(text)));
        const contacts = await Promise.all(texts.map((text) => world.said(text)));
        assert.equal(new Set(contacts.map((c) => c.interactionId)).size, 1);
        const [contact] = contacts;
        const told = world.log.events.filter((e) => e.interactionId === contact.interactionId);
        assert.equal(told.filter((e) => e.type === 'INTERACTION_STARTED').length, 1);
        if (who === visitor) {
          await visitor.stream.heard('the last word', () => visitor.told().length === 10);
          dense(visitor.told());
          assert.deepEqual(visitor.told().map((m) => m.text).sort(), [...texts].sort());
          await visitor.stream.close();
        }
        await world.resolve(contact.conversationId);
      }
    });

    await s.test('an accept that is repeated with its key is done', async () => {
      const first = await asked(await bridge.customer('Nia').say());
      const accept = `mutation($id: ID!, $key: Key) { offerAccept(id: $id, idempotencyKey: $key) { offer { id state } userErrors { code message } } }`;
      const key = unique('key');
      for (let n = 0; n < 3; n += 1) {
        const { offer } = await first.agent.client.do(accept, { id: first.offer.id, key });
        assert.deepEqual(offer, { id: first.offer.id, state: 'ACCEPTED' });
      }
      await world.resolve(first.conversationId);
    });
  });

  await step('a visitor who loses the network misses nothing and gets nothing twice', async () => {
    const [chat] = chats;
    const { visitor } = chat;
    for (let n = 0; n < 3; n += 1) await visitor.sees((await answer(chat)).id);
    visitor.stream.cut();
    for (let n = 0; n < 4; n += 1) await answer(chat);
    const key = unique('key');
    const word = await visitor.say('are you there?', { key });
    assert.equal((await visitor.say('are you there?', { key })).id, word.id, 'he does not know whether it went out, and says it again');
    await answer(chat);
    await visitor.stream.resume();
    await visitor.sees((await answer(chat)).id);
    assert.deepEqual(visitor.stream.resets, []);
    const told = visitor.told();
    dense(told);
    assert.equal(new Set(told.map((m) => m.id)).size, told.length, 'nothing twice');
    const history = await visitor.history();
    assert.deepEqual(told.map((m) => [m.id, m.number, m.text]), history.map((m) => [m.id, m.number, m.text]));
    assert.equal(visitor.stream.cuts, 1);
    await visitor.stream.equalsTwin();
  });

  await step('a visitor who reloads misses nothing', async () => {
    const [, chat] = chats;
    const old = chat.visitor;
    const texts = (await old.history()).map((m) => m.text);
    const says = async () => {
      const message = await answer(chat);
      texts.push(message.text);
      await world.log.heard('it stands in the log', (e) => e.subjectId === message.id);
      return message;
    };
    old.stream.cut();
    const away = await says();
    const visitor = await Visitor.come(node, site.address, old.secret);
    assert.equal(visitor.secret, old.secret, 'the browser is the same');
    const between = await says(); // behind the cursor, before the snapshot: the seam
    const history = await visitor.history();
    const later = await says();
    await visitor.stream.open();
    const live = await says();
    await visitor.sees(live.id);
    const told = visitor.told();
    assert.deepEqual(told.map((m) => m.id), [between.id, later.id, live.id], 'the stream goes on exactly behind its cursor');
    assert.ok(history.some((m) => m.id === away.id) && history.some((m) => m.id === between.id), 'the history has the rest');
    const screen = new Map([...history, ...told].map((m) => [m.id, m]));
    const shown = [...screen.values()].sort((a, b) => a.number - b.number);
    dense(shown);
    assert.deepEqual(shown.map((m) => m.text), texts);
    chat.visitor = visitor;
  });

  await step("DELIVERED comes only when the visitor's cursor has passed", async () => {
    const [, chat] = chats;
    const { visitor, agent } = chat;
    const state = async (id) => (await agent.client.ask(messageState, { id })).delivery;
    const before = visitor.stream.cursor;
    const message = await answer(chat);
    assert.equal(message.delivery, 'SENT', 'committed is sent: there is no provider between');
    await visitor.sees(message.id);
    assert.equal(await state(message.id), 'SENT', "a socket's write proves nothing");
    const pull = async (after) => visitor.client.ask(visitor.stream.kind.pull, { after });
    const frame = await pull(before);
    assert.ok(frame.events.some((e) => e.message?.id === message.id));
    assert.equal(await state(message.id), 'SENT', 'that cursor stood before it');
    visitor.stream.cut();
    await visitor.stream.resume();
    await visitor.stream.heard('DELIVERED', (e) => e.type === 'MESSAGE_UPDATED' && e.message.id === message.id && e.message.delivery === 'DELIVERED');
    assert.equal(await state(message.id), 'DELIVERED');

    const polled = await answer(chat);
    await visitor.sees(polled.id);
    assert.equal(await state(polled.id), 'SENT');
    await pull(visitor.stream.cursor); // the poll twin acknowledges, too
    await until('DELIVERED by the poll twin', async () => (await state(polled.id)) === 'DELIVERED');

    const { number } = await visitor.sees(polled.id);
    await visitor.client.do(`mutation($n: Int!) { visitorMarkRead(upToNumber: $n) { userErrors { code message } } }`, { n: number });
    assert.equal(await state(polled.id), 'READ');
    assert.equal(await state(message.id), 'READ', 'and what was before it');
  });

  await step('a visitor sees his own chat and nothing else', async () => {
    const texts = await Promise.all(chats.map(async (c) => (await c.visitor.history()).map((m) => m.text)));
    assert.ok(texts[0].length > 2 && texts[1].length > 2);
    assert.deepEqual(texts[0].filter((x) => texts[1].includes(x)), []);
    const client = chats[0].visitor.client;
    for (const query of [`{ node(id: "${chats[0].conversationId}") { id } }`, `{ conversation(id: "${chats[0].conversationId}") { id } }`,
      `{ message(id: "${texts[0].id}") { id } }`, '{ interactions { nodes { id } } }', '{ events { cursor } }']) {
      const { data, errors } = await client.send(query);
      assert.ok(errors?.length > 0, query);
      assert.ok(!data || Object.values(data).every((v) => v === null), query);
    }
  });

  await step('a stream that is cut five times has applied what its pull twin tells', async (s) => {
    const contacts = [];
    for (const name of ['Oda', 'Pit', 'Quy', 'Rex']) {
      const customer = bridge.customer(name);
      contacts.push({ ...(await taken(await customer.say())), customer });
    }
    let busy = true;
    let words = 0;
    const traffic = (async () => {
      while (busy) {
        const contact = contacts[Math.floor(random() * contacts.length)];
        if (random() < 0.6) await contact.customer.say();
        else await answer(contact);
        words += 1;
      }
    })();
    try {
      let cut = ann.stream.cutAfter(upTo(12), random() < 0.5);
      for (let n = 1; n <= 5; n += 1) {
        await Promise.race([within('the cut', cut), traffic]);
        // Once so much that she cannot be served from memory, and then the first frame of it is lost, too.
        const enough = words + (n === 3 ? 45 : upTo(6));
        await Promise.race([until('something happens meanwhile', () => words >= enough, 3 * patience), traffic]);
        if (n < 5) cut = ann.stream.cutAfter(n === 3 ? 1 : upTo(12), n === 3 || random() < 0.5);
        await ann.stream.resume();
      }
    } finally {
      busy = false;
      await traffic;
    }
    assert.equal(ann.stream.cuts, 5);
    const same = await ann.stream.equalsTwin();
    s.diagnostic(`${same.count} events applied by Ann over ${1 + ann.stream.cuts} connections, ${words} words meanwhile`);
    const all = await world.log.equalsTwin();
    s.diagnostic(`${all.count} events of the workspace by reach ALL`);
    await ben.stream.equalsTwin();
    // Letters are still on their way: the three are compared up to a place that all have passed.
    await ann.stream.heard('the last event of the log', (e) => e.id === all.last);
    const past = (stream, from = '') => stream.events.filter((e) => e.id >= from && e.id <= all.last);
    const logged = new Set(past(world.log).map((e) => e.id));
    for (const agent of [ann, ben]) {
      const heard = past(agent.stream);
      assert.deepEqual(heard.map((e) => e.id), heard.map((e) => e.id).sort(), `${agent.name} heard it in the log's order`);
      const alone = heard.filter((e) => !logged.has(e.id)).map((e) => e.type);
      assert.deepEqual(alone.filter((type) => type !== 'CONVERSATION_CREATED'), [], 'what only he hears: a matter came into his reach');
    }
    // Everything so far waited in queues of Ann's team: she has heard all of it since she came.
    const heard = new Set(past(ann.stream).map((e) => e.id));
    assert.deepEqual(past(world.log, ann.stream.events[0].id).filter((e) => !heard.has(e.id)), []);
  });

  await step('a declined offer ends the sight of the conversation at once', async () => {
    // A queue without a team: only the offer gives sight.
    const anybody = await world.bridge(platform, await world.queue('open'));
    const first = await asked(await anybody.customer('Sam').say());
    const { agent, conversationId } = first;
    const sees = async () => (await agent.client.send('query($id: ID!) { conversation(id: $id) { id } }', { id: conversationId })).data?.conversation ?? null;
    assert.deepEqual(await sees(), { id: conversationId });
    await agent.decline(first.offer);
    assert.equal(await sees(), null);
    const removed = await agent.stream.heard('the loss', (e) => e.type === 'CONVERSATION_REMOVED' && e.subjectId === conversationId);
    assert.equal(removed.subject, null, 'it carries no content');
    await agent.client.refused('NOT_FOUND', claimInteraction, { id: first.interactionId });
    const next = await world.offered(first.interactionId, first.offer.place);
    const taker = agents.get(next.agentId);
    assert.equal(taker, beside(agent));
    await taker.accept(next);
    await taker.say(first.interactionId).then((m) => sent.push(m.id));
    // What happened since is behind a mark that the agent does hear of.
    const mark = await taken(await bridge.customer('Tom').say());
    await agent.stream.heard('a later event', (e) => e.conversationId === mark.conversationId || mark.agent !== agent, { from: agent.stream.events.indexOf(removed) });
    const twin = await agent.stream.pulled();
    const after = twin.slice(twin.findIndex((e) => e.id === removed.id) + 1);
    assert.deepEqual(after.filter((e) => e.conversationId === conversationId), []);
    await agent.stream.equalsTwin();
  });

  await step('another workspace sees nothing of it', async () => {
    for (const chat of chats) await world.resolve(chat.conversationId);
    const ids = new Set(world.log.events.flatMap((e) => [e.subjectId, e.conversationId, e.interactionId, e.customerId]).filter(Boolean));
    for (const id of [world.id, team, queue, site.id, bridge.id, ann.id, ben.id, ...files, ...Object.values(world.roles)]) ids.add(id);
    const own = [...ids];
    const strangers = [elsewhere.admin, eve.client];
    let known = 0;
    for (let n = 0; n < own.length; n += 100) {
      const some = own.slice(n, n + 100);
      const query = 'query($ids: [ID!]!) { nodes(ids: $ids) { id } }';
      for (const client of strangers) assert.deepEqual(await client.ask(query, { ids: some }), some.map(() => null));
      known += (await world.admin.ask(query, { ids: some })).filter(Boolean).length;
    }
    assert.ok(known > own.length * 0.9, `the same call by their own admin finds them: ${known} of ${own.length}`);

    const [chat] = chats;
    for (const client of strangers) {
      const { data } = await client.send('query($id: ID!) { node(id: $id) { id } }', { id: chat.conversationId });
      assert.equal(data.node, null);
      for (const list of ['conversations', 'interactions', 'customers', 'agents', 'queues', 'channels', 'teams', 'pool', 'unsettledMessages', 'roles']) {
        const answer = await client.send(`{ ${list}(first: 100) { nodes { id } } }`);
        const found = answer.data?.[list]?.nodes ?? [];
        assert.ok(client !== elsewhere.admin || !answer.errors, JSON.stringify(answer.errors));
        assert.deepEqual(found.filter((x) => ids.has(x.id)), [], list);
      }
      await client.refused('NOT_FOUND', claimInteraction, { id: chat.interactionId });
      await client.refused('NOT_FOUND', sendMessage, { id: chat.interactionId, input: { text: 'hello' } });
      await client.refused('NOT_FOUND', acceptOffer, { id: world.log.events.find((e) => e.type === 'OFFER_CREATED').subjectId });
      const frame = await client.ask(eve.stream.kind.pull, { after: world.log.cursor, filter: { scope: 'ALL' } });
      assert.deepEqual([frame.resetReason, frame.events], ['CURSOR_UNKNOWN', []], 'a cursor of another workspace opens nothing');
    }

    // Something of their own, so that the streams have a place behind all of this.
    const visitor = await Visitor.come(node, (await elsewhere.site(await elsewhere.queue('own'))).address);
    await visitor.stream.open();
    const text = unique('elsewhere');
    await visitor.say(text);
    const theirs = await elsewhere.said(text);
    await eve.stream.heard('their own offer', (e) => e.type === 'OFFER_CREATED' && e.interactionId === theirs.interactionId);
    for (const stream of [elsewhere.log, eve.stream]) {
      for (const e of stream.events) {
        assert.ok(![e.subjectId, e.conversationId, e.interactionId, e.customerId].some((id) => ids.has(id)), `${e.type} ${e.subjectId}`);
      }
      await stream.equalsTwin();
    }
    assert.ok(!world.log.events.some((e) => e.conversationId === theirs.conversationId));
    await visitor.stream.close();
  });

  await step('at most one offer of an interaction was pending at any time', async (s) => {
    await watch.stop();
    s.diagnostic(`${watch.looks} looks`);
    assert.ok(watch.looks > 10);
    assert.equal(watch.worst, 1, 'by looking');
    await world.log.equalsTwin();
    const offers = world.log.events.filter((e) => e.type === 'OFFER_CREATED').length;
    assert.ok(offers > 20, `${offers}`);
    assert.equal(mostOpen(world.log.events), 1, 'by the log');
  });

  await step('the bridge got every answer once', async () => {
    for (const id of sent) await platform.got(id);
    assert.deepEqual([...platform.sends.keys()].sort(), [...sent].sort());
    const list = await world.admin.ask('{ unsettledMessages(first: 10) { nodes { id delivery } } }');
    assert.deepEqual(list.nodes, []);
    const dead = await world.admin.ask('{ deadLetters(first: 10) { nodes { id kind error } } }');
    assert.deepEqual(dead.nodes, []);
  });

  for (const stream of [world.log, elsewhere.log, ann.stream, ben.stream, eve.stream, ...chats.map((c) => c.visitor.stream)]) await stream.close();
}
