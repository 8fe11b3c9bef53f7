// The other side of the custom channel: a bridge that somebody wrote for a platform of his own.
import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { patience, unique, until } from './client.js';

/** Signs a body by the protocol. */
export function sign(secret, body, seconds = Math.floor(Date.now() / 1000)) {
  const mac = createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex');
  return `t=${seconds},v1=${mac}`;
}

function signed(secret, header, body) {
  const seconds = /^t=(\d+),/.exec(header ?? '')?.[1];
  if (!seconds || Math.abs(Date.now() / 1000 - seconds) > 300) return false;
  const want = Buffer.from(sign(secret, body, seconds));
  const got = Buffer.from(header);
  return want.length === got.length && timingSafeEqual(want, got);
}

/** Takes what Tributary sends, counted by message, and serves pictures. */
export class Platform {
  static async start() {
    const platform = new Platform();
    platform.sends = new Map(); // message id → bodies
    platform.secrets = new Map(); // path → secret
    platform.files = new Map(); // path → { type, bytes, fetched }
    platform.forged = 0;
    platform.server = createServer((request, response) => platform.answer(request, response));
    await new Promise((resolve) => platform.server.listen(0, '127.0.0.1', resolve));
    platform.url = `http://127.0.0.1:${platform.server.address().port}`;
    return platform;
  }

  answer(request, response) {
    const file = this.files.get(request.url);
    if (file) {
      file.fetched += 1;
      response.writeHead(200, { 'Content-Type': file.type });
      response.end(file.bytes);
      return;
    }
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      const body = Buffer.concat(chunks);
      if (!signed(this.secrets.get(request.url) ?? '', request.headers['tributary-signature'], body)) {
        this.forged += 1;
        response.writeHead(401).end();
        return;
      }
      const message = JSON.parse(body);
      const list = this.sends.get(message.id) ?? [];
      list.push(message);
      this.sends.set(message.id, list);
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ externalId: `x-${message.id}` }));
    });
  }

  /** Lays a file down and gives its address. */
  file(path, type, bytes) {
    this.files.set(path, { type, bytes, fetched: 0 });
    return this.url + path;
  }

  /** Waits for a message, which must have come once. */
  async got(id, ms = patience) {
    const [first] = await until(`the bridge gets ${id}`, () => this.sends.get(id), ms);
    assert.equal(this.sends.get(id).length, 1, `${id} was sent once`);
    return first;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** One configured bridge. */
export class Bridge {
  constructor({ id, hook, secret }) {
    Object.assign(this, { id, hook, secret });
  }

  /** Posts events with a right signature; the answer must be that they were taken. */
  async deliver(...events) {
    const body = JSON.stringify(events.length === 1 ? events[0] : { events });
    const answer = await fetch(this.hook, {
      method: 'POST', body, signal: AbortSignal.timeout(patience),
      headers: { 'Content-Type': 'application/json', 'Tributary-Signature': sign(this.secret, body) },
    });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    assert.deepEqual(JSON.parse(text), { accepted: events.length });
  }

  /** A customer of the platform. */
  customer(name, { thread = unique('thread'), customerId } = {}) {
    return new Customer(this, name, thread, customerId);
  }
}

/** A customer who writes through a bridge. */
export class Customer {
  constructor(bridge, name, thread, customerId) {
    this.bridge = bridge;
    this.thread = thread;
    this.from = { id: unique(name), name };
    if (customerId) this.from.customerId = customerId;
  }

  message(...parts) {
    return { id: unique('evt'), kind: 'message', at: new Date().toISOString(), thread: this.thread, from: this.from, parts };
  }

  /** Writes a text, and returns it when the webhook has been answered. */
  async say(text = unique('text')) {
    await this.bridge.deliver(this.message({ type: 'text', text }));
    return text;
  }
}
