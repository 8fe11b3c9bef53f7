// GraphQL as a front end speaks it: POST, and npm graphql-ws for streams.
import assert from 'node:assert/strict';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

/** Ten times the second that an offer, a frame or a message may take. */
export const patience = 10_000;

let count = 0;

/** A text that no other call makes. */
export function unique(name) {
  count += 1;
  return `${name}-${process.pid}-${Date.now().toString(36)}-${count}`;
}

/** Asks until the answer is truthy. For what no event tells. */
export async function until(what, ask, ms = patience) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await ask();
    if (got) return got;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits for a promise, but not for ever. */
export async function within(what, promise, ms = patience) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One token. */
export class Client {
  constructor(url, token = '') {
    this.url = url;
    this.token = token;
  }

  get socketURL() {
    return `${this.url.replace(/^http/, 'ws')}/graphql`;
  }

  /** The whole answer, whatever it says. */
  async send(query, variables = {}) {
    const headers = { 'Content-Type': 'application/json' };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const answer = await fetch(`${this.url}/graphql`, {
      method: 'POST', headers, body: JSON.stringify({ query, variables }), signal: AbortSignal.timeout(30_000),
    });
    const text = await answer.text();
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`status ${answer.status}: ${text}`);
    }
  }

  /** The first field of an answer without errors. */
  async ask(query, variables) {
    const { data, errors } = await this.send(query, variables);
    assert.equal(errors, undefined, `${JSON.stringify(errors)}\n${query} ${JSON.stringify(variables)}`);
    return Object.values(data)[0];
  }

  /** A mutation that must be done. */
  async do(query, variables) {
    const payload = await this.ask(query, variables);
    assert.deepEqual(payload.userErrors, [], `${query} ${JSON.stringify(variables)}`);
    return payload;
  }

  /** A mutation that must be refused, for one reason. */
  async refused(code, query, variables) {
    const payload = await this.ask(query, variables);
    assert.deepEqual(payload.userErrors.map((e) => e.code), [code], `${query} ${JSON.stringify(variables)}`);
    return payload.userErrors[0];
  }
}

const eventFields = `id cursor type at subjectId subjectVersion changed conversationId interactionId customerId causedByKey`;

/** The agents' stream, and its twin for a query with the same selection. */
export const eventStream = {
  root: 'events',
  subscription: `subscription($after: EventCursor, $filter: EventFilter) { events(after: $after, filter: $filter) {
    cursor caughtUp resetReason events { ${eventFields} subject { __typename id
      ... on Offer { offerState: state expiresAt interaction { id queuedAt } agent { id } }
      ... on Message { text delivery interaction { id } }
      ... on Interaction { interactionState: state queuedAt } } } } }`,
  pull: `query($after: EventCursor, $filter: EventFilter) { events(after: $after, first: 100, filter: $filter) {
    cursor caughtUp resetReason events { ${eventFields} } } }`,
};

const visitorMessage = 'id number mine authorName text delivery at clientKey attachments { id name contentType bytes url }';

/** The visitor's stream, and its twin. */
export const visitorStream = {
  root: 'visitorEvents',
  subscription: `subscription($after: EventCursor) { visitorEvents(after: $after) { cursor caughtUp resetReason
    events { id cursor type at message { ${visitorMessage} } conversation { state agentName } } } }`,
  pull: `query($after: EventCursor) { visitorEventsAfter(after: $after, first: 100) { cursor caughtUp resetReason
    events { id cursor type at message { ${visitorMessage} } conversation { state agentName } } } }`,
  history: `{ visitorConversation { state agentName messages(last: 100) { nodes { ${visitorMessage} } } } }`,
};

/**
 * A live stream as the contract asks a client to keep it: it applies each frame and its cursor together, does not
 * retry by itself, and after any break subscribes anew after the last applied cursor.
 */
export class Stream {
  constructor(client, kind, { after = null, filter } = {}) {
    this.client = client;
    this.kind = kind;
    this.filter = filter;
    this.start = after;
    this.cursor = after;
    this.events = [];
    this.resets = [];
    this.frames = 0;
    this.cuts = 0;
    this.waiting = new Set();
    this.broken = null; // what ended it without our wish
  }

  /** Connects, and waits for the acknowledgement. */
  async open() {
    const life = { over: false };
    this.life = life;
    const opened = new Promise((resolve, reject) => {
      life.ws = createClient({
        url: this.client.socketURL, webSocketImpl: WebSocket, lazy: false, retryAttempts: 0,
        connectionParams: () => ({ Authorization: `Bearer ${this.client.token}` }),
        onNonLazyError: reject,
        on: { connected: (socket) => { life.socket = socket; resolve(); } },
      });
    });
    life.closed = new Promise((resolve) => life.ws.on('closed', resolve));
    const variables = { after: this.cursor };
    if (this.filter) variables.filter = this.filter;
    life.ws.subscribe({ query: this.kind.subscription, variables }, {
      next: (answer) => this.next(life, answer),
      error: (error) => this.broke(life, error),
      complete: () => this.broke(life, new Error('the server completed a stream without end')),
    });
    await within('the socket opens', opened);
    return this;
  }

  next(life, answer) {
    if (life.over) return; // the network is gone: what still lay in a buffer was never seen
    if (answer.errors) {
      this.broke(life, new Error(JSON.stringify(answer.errors)));
      return;
    }
    this.frames += 1;
    if (this.cutting && --this.cutting.left <= 0) {
      const { before, done } = this.cutting;
      this.cutting = null;
      if (before) { // lost on the way: the frame has to come again
        this.cut();
        done();
        return;
      }
      this.apply(answer.data[this.kind.root]);
      this.cut();
      done();
      return;
    }
    this.apply(answer.data[this.kind.root]);
  }

  apply(frame) {
    if (frame.resetReason) this.resets.push(frame.resetReason);
    const at = performance.now();
    for (const event of frame.events) {
      event.heard = at;
      this.events.push(event);
    }
    this.cursor = frame.cursor;
    this.caughtUp = frame.caughtUp;
    for (const look of this.waiting) look();
  }

  broke(life, error) {
    if (life.over) return;
    this.broken = error;
    for (const look of this.waiting) look();
  }

  /** Cuts the connection with no farewell, as a network does. */
  cut() {
    this.cuts += 1;
    this.life.over = true;
    this.life.socket.terminate();
  }

  /** Cuts it when so many more frames have come, the last of them lost if `before`. */
  cutAfter(frames, before) {
    return new Promise((resolve) => { this.cutting = { left: frames, before, done: resolve }; });
  }

  /** Subscribes anew after the last applied cursor. */
  async resume() {
    await within('the old socket is closed', this.life.closed);
    return this.open();
  }

  /** Ends it in good order. */
  async close() {
    this.life.over = true;
    await this.life.ws.dispose();
  }

  /** A place in what was heard, to look only at what comes later. */
  mark() {
    return this.events.length;
  }

  /** The first event from a place on that holds. */
  async heard(what, holds, { from = 0, ms = patience } = {}) {
    let look;
    let next = from;
    const found = new Promise((resolve, reject) => {
      look = () => {
        for (; next < this.events.length; next += 1) {
          if (holds(this.events[next])) {
            resolve(this.events[next]);
            return;
          }
        }
        if (this.broken) reject(new Error(`the stream broke while waiting for ${what}: ${JSON.stringify(this.broken)} ${this.broken.message ?? ''}`));
      };
    });
    this.waiting.add(look);
    try {
      look();
      return await within(what, found, ms);
    } catch (error) {
      const tail = this.events.slice(-12).map((e) => `${e.id} ${e.type} ${e.subjectId ?? e.message?.text}`).join('\n');
      error.message += `\nlast heard:\n${tail}`;
      throw error;
    } finally {
      this.waiting.delete(look);
    }
  }

  /** All that the pull twin gives after a cursor. */
  async pulled(after = this.start) {
    const events = [];
    for (;;) {
      const frame = await this.client.ask(this.kind.pull, this.filter ? { after, filter: this.filter } : { after });
      assert.equal(frame.resetReason, null);
      events.push(...frame.events);
      after = frame.cursor;
      if (frame.caughtUp) return events;
    }
  }

  /**
   * Compares everything that was applied since the start with what the pull twin gives over the same range, and gives
   * that. Ids are of one length and rise with the log.
   */
  async equalsTwin() {
    const told = await this.pulled();
    assert.ok(told.length > 0, 'the twin tells something');
    const last = told.at(-1).id;
    await this.heard(`the twin's last event ${last}`, (e) => e.id === last);
    const applied = this.events.slice(0, this.events.findIndex((e) => e.id === last) + 1);
    assert.deepEqual(applied.map((e) => e.id), told.map((e) => e.id), 'the ids in order');
    assert.deepEqual(applied.map(record), told.map(record), 'what the records say');
    assert.equal(new Set(applied.map((e) => e.id)).size, applied.length, 'nothing twice');
    assert.deepEqual(this.resets, []);
    return { count: told.length, last };
  }
}

/** The part of an event that is the log's: the subject is told as it is now, and may have changed since. */
function record(e) {
  const { id, cursor, type, at, subjectId, subjectVersion, changed, conversationId, interactionId, customerId, causedByKey } = e;
  return { id, cursor, type, at, subjectId, subjectVersion, changed, conversationId, interactionId, customerId, causedByKey };
}

/** Puts bytes at a signed address. */
export async function put(target, bytes) {
  const headers = Object.fromEntries(target.headers.map((h) => [h.key, h.value]));
  const answer = await fetch(target.url, { method: target.method, headers, body: bytes, signal: AbortSignal.timeout(patience) });
  assert.ok(answer.ok, `PUT ${answer.status}: ${await answer.text()}`);
}

/** Gets bytes from a signed address. */
export async function get(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(patience) });
  assert.equal(answer.status, 200, url);
  return { type: answer.headers.get('content-type'), bytes: Buffer.from(await answer.arrayBuffer()) };
}
