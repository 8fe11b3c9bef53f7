// Workspaces and who is in them, made as an admin makes them: through the contract alone.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Bridge } from './bridge.js';
import { Client, Stream, eventStream, patience, unique, visitorStream } from './client.js';

/** Everybody's. */
export const password = 'correct horse battery';

async function accept(url, secret) {
  const client = new Client(url);
  const { tokens } = await client.do(`mutation($secret: String!) {
    invitationAccept(secret: $secret, password: "${password}", client: "e2e") { tokens { accessToken } userErrors { code message } } }`, { secret });
  client.token = tokens.accessToken;
  return client;
}

/** A workspace, its admin, and the admin's stream over everything. */
export class World {
  static async create(node) {
    const world = new World();
    world.node = node;
    const operator = new Client(node.url, await node.operatorToken());
    const made = await operator.do(`mutation($mail: String!) {
      workspaceCreate(input: { name: "Shop", adminName: "Ada", adminEmail: $mail }) { workspace { id } secret userErrors { code message } } }`,
    { mail: `${unique('ada')}@example.com` });
    world.id = made.workspace.id;
    world.admin = await accept(node.url, made.secret);
    const roles = await world.admin.ask('{ roles(first: 20) { nodes { id name } } }');
    world.roles = Object.fromEntries(roles.nodes.map((r) => [r.name, r.id]));
    world.log = await listen(world.admin, 'ALL');
    return world;
  }

  async team(name) {
    const made = await this.admin.do(`mutation($input: TeamCreateInput!) { teamCreate(input: $input) { team { id } userErrors { code message } } }`, { input: { name } });
    return made.team.id;
  }

  /** An agent of a built-in role, logged in, with a live stream, AVAILABLE. */
  async agent(name, { scope = 'MINE', role = 'agent', teams = [], silent = false } = {}) {
    const input = { displayName: name, email: `${unique(name)}@example.com`, roleId: this.roles[role], teamIds: teams };
    const made = await this.admin.do(`mutation($input: AgentCreateInput!) { agentCreate(input: $input) { agent { id } userErrors { code message } } }`, { input });
    const invited = await this.admin.do(`mutation($id: ID!) { agentInvite(id: $id) { secret userErrors { code message } } }`, { id: made.agent.id });
    const agent = new Agent(this, name, made.agent.id, await accept(this.node.url, invited.secret));
    agent.email = input.email;
    await agent.status('AVAILABLE');
    if (silent) return agent;
    const from = this.log.mark();
    agent.stream = await listen(agent.client, scope);
    await this.live(agent, from);
    return agent;
  }

  /** Waits until the log says that a socket of the agent is known: from then on he is able. */
  async live(agent, from = 0) {
    await this.log.heard(`${agent.name} is live`, (e) => e.type === 'AGENT_STATUS_CHANGED' && e.subjectId === agent.id && e.changed.includes('live'), { from });
  }

  async queue(name, more = {}) {
    const input = { name: unique(name), offerSeconds: 60, stickySeconds: 600, breakAfterMisses: 100, ...more };
    const made = await this.admin.do(`mutation($input: QueueCreateInput!) { queueCreate(input: $input) { queue { id } userErrors { code message } } }`, { input });
    return made.queue.id;
  }

  async channel(input) {
    const made = await this.admin.do(`mutation($input: ChannelCreateInput!) {
      channelCreate(input: $input) { channel { id address webhookUrl } userErrors { code message field } } }`, { input });
    return made.channel;
  }

  /** A web chat. */
  async site(queueId) {
    return this.channel({ kind: 'webchat', name: unique('site'), config: {}, queueId });
  }

  /** A custom channel whose sends go to the platform. */
  async bridge(platform, queueId, more = {}) {
    const path = `/${unique('callback')}`;
    const secret = unique('a-secret-of-at-least-thirty-two-bytes');
    platform.secrets.set(path, secret);
    const { id, webhookUrl } = await this.channel({
      kind: 'custom', name: unique('bridge'), queueId, secrets: [{ name: 'signingSecret', value: secret }],
      config: { callbackUrl: platform.url + path, attachments: [{ kind: 'image' }] }, ...more,
    });
    return new Bridge({ id, hook: webhookUrl, secret });
  }

  /** The contact of a text that somebody said, as the log tells it. */
  async said(text) {
    const event = await this.log.heard(`the log tells ${text}`, (e) => e.type === 'MESSAGE_CREATED' && e.subject?.text === text);
    return { interactionId: event.interactionId, conversationId: event.conversationId, messageId: event.subjectId, place: this.log.events.indexOf(event) };
  }

  /** The next offer of an interaction behind a place in the log. */
  async offered(interactionId, from = 0, ms = patience) {
    const event = await this.log.heard(`an offer of ${interactionId}`, (e) => e.type === 'OFFER_CREATED' && e.interactionId === interactionId, { from, ms });
    return { id: event.subjectId, agentId: event.subject.agent.id, queuedAt: event.subject.interaction.queuedAt, interactionId, place: this.log.events.indexOf(event) + 1, heard: event.heard };
  }

  async interaction(id) {
    return this.admin.ask(`query($id: ID!) { interaction(id: $id) { id state live queuedAt joinedBy waitSeconds acceptedAt
      conversation { id state owner { id } } customer { id } agent { id } previousAgent { id } openOffer { id }
      offers(first: 20) { nodes { id state outcome reasons agent { id } } } } }`, { id });
  }

  /** Ends a matter whoever serves it; one that is over stays so. */
  async resolve(id) {
    const payload = await this.admin.ask(`mutation($id: ID!) { conversationResolve(id: $id, input: { endOthers: true }) { conversation { id state } userErrors { code message } } }`, { id });
    assert.ok(payload.userErrors.every((e) => e.code === 'WRONG_STATE'), JSON.stringify(payload.userErrors));
  }
}

/** A stream that begins at the log's present place. */
export async function listen(client, scope) {
  const after = await client.ask('{ eventCursor }');
  return new Stream(client, eventStream, { after, filter: { scope } }).open();
}

/** An agent at work. */
export class Agent {
  constructor(world, name, id, client) {
    Object.assign(this, { world, name, id, client });
  }

  status(state) {
    return this.client.do(`mutation($state: AgentState!) { agentStatusSet(input: { state: $state }) { userErrors { code message } } }`, { state });
  }

  /** Waits until the own stream tells of the offer. */
  async asked(offer) {
    return this.stream.heard(`${this.name} is asked`, (e) => e.type === 'OFFER_CREATED' && e.subjectId === offer.id);
  }

  accept(offer) {
    return this.client.do(acceptOffer, { id: offer.id });
  }

  decline(offer) {
    return this.client.do(`mutation($id: ID!) { offerDecline(id: $id, reason: "busy") { offer { id state outcome } userErrors { code message } } }`, { id: offer.id });
  }

  /** Sends a text, and gives the message. */
  async say(interactionId, text = unique('answer'), more = {}) {
    const { message } = await this.client.do(sendMessage, { id: interactionId, input: { text, ...more } });
    return message;
  }

  resolve(id) {
    return this.client.do(`mutation($id: ID!) { conversationResolve(id: $id) { conversation { id state } userErrors { code message } } }`, { id });
  }
}

export const acceptOffer = `mutation($id: ID!) { offerAccept(id: $id) { offer { id state } userErrors { code message conflict { id } } } }`;

export const claimInteraction = `mutation($id: ID!) { interactionClaim(id: $id) {
  interaction { id state agent { id } } userErrors { code message conflict { id } } } }`;

export const sendMessage = `mutation($id: ID!, $input: MessageInput!, $key: Key) {
  messageSend(interactionId: $id, input: $input, idempotencyKey: $key) { message { id number text delivery causedByKey } userErrors { code message retryable } } }`;

const startVisit = `mutation($site: Key!, $known: String, $token: String) {
  visitorSessionStart(input: { siteKey: $site, visitorToken: $known, identityToken: $token, client: "e2e" }) { token visitorToken eventCursor userErrors { code message } } }`;

export const visitorSays = `mutation($input: VisitorMessageInput!, $key: Key) {
  visitorMessageSend(input: $input, idempotencyKey: $key) { visitorMessage { id number text clientKey } userErrors { code message } } }`;

/** A visitor with a browser. What he has on the screen is by message id. */
export class Visitor {
  static async come(node, site, known, token) {
    const visitor = new Visitor();
    visitor.site = site;
    visitor.client = new Client(node.url);
    const visit = await visitor.client.do(startVisit, { site, known, token });
    visitor.client.token = visit.token;
    visitor.secret = visit.visitorToken;
    visitor.stream = new Stream(visitor.client, visitorStream, { after: visit.eventCursor });
    return visitor;
  }

  async say(text = unique('word'), { key = unique('key'), attachmentIds } = {}) {
    const { visitorMessage } = await this.client.do(visitorSays, { input: { text, attachmentIds }, key });
    return visitorMessage;
  }

  async history() {
    const chat = await this.client.ask(visitorStream.history);
    return chat?.messages.nodes ?? [];
  }

  /** Waits until the stream tells a message. */
  async sees(id) {
    const event = await this.stream.heard(`the visitor sees ${id}`, (e) => e.type === 'MESSAGE_CREATED' && e.message?.id === id);
    return event.message;
  }

  /** Messages that the stream told as new, in its order. */
  told(from = 0) {
    return this.stream.events.slice(from).filter((e) => e.type === 'MESSAGE_CREATED').map((e) => e.message);
  }
}

/** A token of the operator's own system, which says what it knows of a visitor. */
export function signed(secret, audience, claims) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ aud: audience, iat: now, exp: now + 600, ...claims })}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

/** Numbers without a gap, from 1. */
export function dense(messages) {
  assert.deepEqual(messages.map((m) => m.number), messages.map((_, n) => n + 1), 'numbers are dense');
}
