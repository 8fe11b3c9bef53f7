// Streams over Server-Sent Events, for networks and programs without sockets: fetch alone.
import assert from 'node:assert/strict';
import { Platform } from './bridge.js';
import { eventStream, patience, unique, visitorStream, within } from './client.js';
import { Visitor, World } from './world.js';

/** One subscription over a request of its own, applied and resumed as a socket's would be. */
class Source {
  constructor(client, kind, variables) {
    Object.assign(this, { client, kind, variables, events: [], cursor: variables.after, start: variables.after, looks: new Set() });
  }

  async open() {
    const control = new AbortController();
    this.control = control;
    const answer = await fetch(`${this.client.url}/graphql`, {
      method: 'POST', signal: control.signal,
      headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream', Authorization: `Bearer ${this.client.token}` },
      body: JSON.stringify({ query: this.kind.subscription, variables: { ...this.variables, after: this.cursor } }),
    });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type'), /^text\/event-stream/);
    this.reading = this.read(answer.body, control).catch((error) => { if (!control.signal.aborted) this.broken = error; });
    return this;
  }

  async read(body, control) {
    let text = '';
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const lines = text.slice(0, end).split('\n');
        text = text.slice(end + 2);
        if (control.signal.aborted) return;
        this.take(lines);
      }
    }
    if (!control.signal.aborted) this.broken = new Error('the server ended a stream without end');
  }

  take(lines) {
    const field = (name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).trimStart()).join('\n');
    if (field('event') !== 'next') {
      assert.ok(lines.every((l) => l.startsWith(':')), `a comment: ${lines}`);
      return;
    }
    const { data, errors } = JSON.parse(field('data'));
    assert.equal(errors, undefined);
    const frame = data[this.kind.root];
    assert.equal(frame.resetReason, null);
    this.events.push(...frame.events);
    this.cursor = frame.cursor;
    for (const look of this.looks) look();
  }

  async heard(what, holds) {
    let look;
    const found = new Promise((resolve, reject) => {
      look = () => {
        const event = this.events.find(holds);
        if (event) resolve(event);
        else if (this.broken) reject(this.broken);
      };
    });
    this.looks.add(look);
    look();
    try {
      return await within(what, found, patience);
    } finally {
      this.looks.delete(look);
    }
  }

  async cut() {
    this.control.abort();
    await this.reading;
  }
}

export async function serverSentEvents(t, node) {
  const platform = await Platform.start();
  t.after(() => platform.stop());
  const world = await World.create(node);
  const queue = await world.queue('sse');
  const bridge = await world.bridge(platform, queue);

  await t.test('an agent with nothing but a request is live, cut, and resumes by his cursor', async () => {
    const agent = await world.agent('Sue', { silent: true });
    const from = world.log.mark();
    const after = await agent.client.ask('{ eventCursor }');
    const filter = { scope: 'MINE' };
    const source = await new Source(agent.client, eventStream, { after, filter }).open();
    await world.live(agent, from);
    const customer = bridge.customer('Uma');
    const contact = await world.said(await customer.say());
    const offer = await world.offered(contact.interactionId);
    await source.heard('the offer', (e) => e.type === 'OFFER_CREATED' && e.subjectId === offer.id);
    await agent.accept(offer);
    for (let n = 0; n < 3; n += 1) {
      await source.cut();
      const last = await agent.say(contact.interactionId);
      await customer.say();
      await source.open();
      await source.heard('what was said meanwhile', (e) => e.subjectId === last.id);
    }
    const text = await customer.say();
    const end = await source.heard('the last word', (e) => e.type === 'MESSAGE_CREATED' && e.subject.text === text);
    const told = [];
    for (let at = after, done = false; !done;) {
      const frame = await agent.client.ask(eventStream.pull, { after: at, filter });
      told.push(...frame.events);
      [at, done] = [frame.cursor, frame.caughtUp];
    }
    const upTo = (list) => list.map((e) => e.id).slice(0, list.findIndex((e) => e.id === end.id) + 1);
    assert.deepEqual(upTo(source.events), upTo(told));
    await source.cut();
  });

  await t.test('a visitor, too', async () => {
    const agent = await world.agent('Val');
    await world.admin.do('mutation($id: ID!) { agentStatusSet(agentId: $id, input: { state: OFFLINE }) { userErrors { code message } } }',
      { id: (await world.admin.ask('{ agents(first: 10) { nodes { id displayName } } }')).nodes.find((a) => a.displayName === 'Sue').id });
    const visitor = await Visitor.come(node, (await world.site(queue)).address);
    const source = await new Source(visitor.client, visitorStream, { after: visitor.stream.start }).open();
    const word = await visitor.say();
    await source.heard('his own word', (e) => e.message?.id === word.id);
    const contact = await world.said(word.text);
    const offer = await world.offered(contact.interactionId);
    await agent.accept(offer);
    const ids = [word.id];
    for (let n = 0; n < 3; n += 1) {
      await source.cut();
      ids.push((await agent.say(contact.interactionId, unique('away'))).id);
      await source.open();
      ids.push((await agent.say(contact.interactionId, unique('there'))).id);
      await source.heard('the answer', (e) => e.type === 'MESSAGE_CREATED' && e.message.id === ids.at(-1));
    }
    const told = source.events.filter((e) => e.type === 'MESSAGE_CREATED').map((e) => e.message);
    assert.deepEqual(told.map((m) => m.id), ids);
    assert.deepEqual(told.map((m) => m.number), ids.map((_, n) => n + 1));
    await source.cut();
    await agent.stream.close();
  });

  await t.test('a request with no usable token gets no stream', async () => {
    for (const headers of [{}, { Authorization: 'Bearer nonsense' }]) {
      const answer = await fetch(`${node.url}/graphql`, {
        method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream', ...headers },
        body: JSON.stringify({ query: 'subscription { events { cursor } }' }), signal: AbortSignal.timeout(patience),
      });
      const text = await answer.text();
      assert.ok(answer.status === 401 || /UNAUTHENTICATED/.test(text), `${answer.status} ${text}`);
      assert.doesNotMatch(text, /cursor"/);
    }
  });
  await world.log.close();
}
