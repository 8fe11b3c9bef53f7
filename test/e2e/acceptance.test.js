// The acceptance test: the real program on each database, stock clients, the contract and the wire only.
import test, { before } from 'node:test';
import { closeCodes } from './codes.js';
import { Node, binary, postgres, postgresMissing } from './node.js';
import { spine } from './spine.js';
import { serverSentEvents } from './sse.js';

before(() => binary()); // takes as long as it takes

async function all(t, databaseURL) {
  const node = await Node.start({ databaseURL });
  const failed = [];
  const part = (name, run) => t.test(name, async (s) => {
    failed.push(name);
    await run(s, node);
    failed.pop();
  });
  try {
    await part('the spine', spine);
    await part('server-sent events', serverSentEvents);
    await part('close codes', closeCodes); // the last: it stops the program
  } finally {
    await node.kill();
    if (failed.length > 0 || process.env.TEST_LOG) console.error(node.log.slice(-8000));
  }
}

test('sqlite', { timeout: 110_000 }, (t) => all(t));

test('postgres', { timeout: 110_000 }, async (t) => {
  const missing = postgresMissing();
  if (missing) {
    console.error(`${'#'.repeat(72)}\n# SKIPPED: the acceptance test on PostgreSQL: ${missing}\n${'#'.repeat(72)}`);
    if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error(`TEST_REQUIRE_SERVERS=1, and ${missing}`);
    t.skip(missing);
    return;
  }
  const database = postgres(process.env.TEST_DATABASE_URL);
  try {
    await all(t, database.url);
  } finally {
    database.drop();
  }
});
