// Why the server closes a socket, as the stock client sees it.
import assert from 'node:assert/strict';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { within } from './client.js';
import { Visitor, World } from './world.js';

const live = 'subscription { events { cursor } }';

/** The close that a client sees, and after how many milliseconds. */
async function closing(client, { socket = WebSocket, token = client.token, act, ms = 10_000, ...options } = {}) {
  const began = performance.now();
  let ws;
  const closed = new Promise((resolve) => {
    ws = createClient({
      url: client.socketURL, webSocketImpl: socket, lazy: false, retryAttempts: 0, onNonLazyError: () => {},
      connectionParams: token ? { Authorization: `Bearer ${token}` } : undefined, ...options,
      on: { closed: (event) => resolve({ code: event.code, reason: event.reason, ms: performance.now() - began }), connected: () => act?.(ws) },
    });
  });
  try {
    return await within('the close', closed, ms);
  } finally {
    await ws.dispose();
  }
}

/** A socket that says something else in the place of what its client says. */
function saying(change) {
  return class extends WebSocket {
    send(data, ...rest) {
      for (const text of change(data, JSON.parse(data))) super.send(text, ...rest);
    }
  };
}

const quiet = { next() {}, error() {}, complete() {} };

export async function closeCodes(t, node) {
  const world = await World.create(node);
  const agent = await world.agent('Wim');
  const { client } = agent;
  const one = (name, code, run) => t.test(name, async (s) => {
    const close = await run();
    s.diagnostic(`${close.code} "${close.reason}" after ${close.ms.toFixed(0)} ms`);
    assert.equal(close.code, code);
    return close;
  });

  await Promise.all([
    one('4400: not a message of the protocol', 4400, () => closing(client, { socket: saying((data, m) => (m.type === 'subscribe' ? ['hello'] : [data])), act: (ws) => ws.subscribe({ query: live }, quiet) })),
    one('4401: subscribe before connection_init', 4401, () => closing(client, {
      socket: saying((data, m) => [m.type === 'connection_init' ? JSON.stringify({ id: '1', type: 'subscribe', payload: { query: live } }) : data]),
    })),
    one('4403: a bad token', 4403, () => closing(client, { token: 'nonsense' })),
    one('4403: no token', 4403, () => closing(client, { token: '' })),
    one('4403: a token that was changed', 4403, () => closing(client, { token: client.token.slice(0, -2) + (client.token.endsWith('AA') ? 'BB' : 'AA') })),
    t.test('4403: the session ends under an open stream', async (s) => {
      const other = await world.agent('Xia', { silent: true });
      let ended;
      const close = await closing(other.client, { ms: 50_000, act: async (ws) => {
        ws.subscribe({ query: live }, quiet);
        await other.client.do('mutation { sessionEnd { userErrors { code message } } }');
        ended = performance.now();
      } });
      s.diagnostic(`${close.code} "${close.reason}" ${(performance.now() - ended).toFixed(0)} ms after the session's end; the must is 5 s`);
      assert.equal(close.code, 4403);
    }),
    t.test("4403: a visitor's session ends under an open stream", async (s) => {
      const visitor = await Visitor.come(node, (await world.site(await world.queue('codes'))).address);
      const close = await closing(visitor.client, { ms: 50_000, act: (ws) => {
        ws.subscribe({ query: 'subscription { visitorEvents { cursor } }' }, quiet);
        return visitor.client.do('mutation { visitorSessionEnd { userErrors { code message } } }');
      } });
      s.diagnostic(`${close.code} "${close.reason}" after ${close.ms.toFixed(0)} ms`);
      assert.equal(close.code, 4403);
    }),
    t.test('4408: connection_init is late', async (s) => {
      const close = await closing(client, { ms: 50_000, socket: saying((data, m) => (m.type === 'connection_init' ? [] : [data])) });
      s.diagnostic(`${close.code} "${close.reason}" after ${close.ms.toFixed(0)} ms; the must is 5 s`);
      assert.equal(close.code, 4408);
      assert.ok(close.ms > 4_500, 'not before its time');
    }),
    one('4409: an id that is in use', 4409, () => closing(client, {
      generateID: () => 'same', act: (ws) => {
        ws.subscribe({ query: live }, quiet);
        ws.subscribe({ query: live }, quiet);
      },
    })),
    one('4429: connection_init twice', 4429, () => closing(client, { socket: saying((data, m) => (m.type === 'connection_init' ? [data, data] : [data])) })),
    t.test('4429: more subscriptions than a socket may have; as many as it may are served', async (s) => {
      let served = 0;
      const close = await closing(client, { act: (ws) => {
        for (let n = 0; n < 20; n += 1) {
          ws.subscribe({ query: live }, { ...quiet, next: () => {
            served += 1;
            if (served === 20) ws.subscribe({ query: live }, quiet);
          } });
        }
      } });
      s.diagnostic(`${close.code} "${close.reason}" after ${close.ms.toFixed(0)} ms`);
      assert.deepEqual([close.code, served], [4429, 20]);
    }),
    t.test('an id is free again when its operation is over', async () => {
      const ws = createClient({ url: client.socketURL, webSocketImpl: WebSocket, retryAttempts: 0, generateID: () => 'same', connectionParams: { Authorization: `Bearer ${client.token}` } });
      for (let n = 0; n < 3; n += 1) {
        const answer = await within('an answer', new Promise((resolve, reject) => {
          let got;
          ws.subscribe({ query: '{ viewer { kind } }' }, { next: (a) => { got = a; }, error: reject, complete: () => resolve(got) });
        }));
        assert.deepEqual(answer.data, { viewer: { kind: 'AGENT' } });
      }
      await ws.dispose();
    }),
    t.test('another subprotocol is not spoken', async () => {
      const socket = new WebSocket(client.socketURL, 'graphql-ws');
      const status = await within('the refusal', new Promise((resolve, reject) => {
        socket.on('unexpected-response', (_, response) => resolve(response.statusCode)).on('open', () => reject(new Error('it opened'))).on('error', () => {});
      }));
      assert.equal(status, 400);
    }),
  ]);

  await t.test('1012: the node drains, and the program ends in good order', async (s) => {
    await agent.stream.close();
    await world.log.close();
    const close = await closing(client, { act: (ws) => {
      ws.subscribe({ query: live }, { ...quiet, next: () => node.terminate() });
    } });
    s.diagnostic(`${close.code} "${close.reason}"`);
    assert.equal(close.code, 1012);
    assert.deepEqual(await within('the end', node.ended, 30_000), { code: 0, signal: null }, node.log);
  });
}

