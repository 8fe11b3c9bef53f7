// The scripted day: the real program on each database.
import test, { before } from 'node:test';
import { Day, evening, morning, night, noon } from './day.js';
import { Node, binary, postgres, postgresMissing } from './node.js';

before(() => binary());

async function all(t, databaseURL) {
  const node = await Node.start({ databaseURL });
  let done = false;
  try {
    const day = await Day.begin(t, node);
    for (const part of [morning, noon, evening, night]) await part(day);
    done = true;
  } finally {
    await node.kill();
    if (!done || process.env.TEST_LOG) console.error(node.log.slice(-8000));
  }
}

test('a day on sqlite', { timeout: 180_000 }, (t) => all(t));

test('a day on postgres', { timeout: 180_000 }, async (t) => {
  const missing = postgresMissing();
  if (missing) {
    console.error(`${'#'.repeat(72)}\n# SKIPPED: the day on PostgreSQL: ${missing}\n${'#'.repeat(72)}`);
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
