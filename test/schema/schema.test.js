// The contract's own rules: graphql-schema-linter over schema/*.graphql, and no breaking change against the last release.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { buildSchema, findBreakingChanges } from 'graphql'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const files = readdirSync(join(root, 'schema')).filter((f) => f.endsWith('.graphql')).sort()
const sdl = files.map((f) => readFileSync(join(root, 'schema', f), 'utf8')).join('\n')

// Sorted lists are not asked for: files are read in the order of meaning.
const rules = [
  'arguments-have-descriptions', 'defined-types-are-used', 'deprecations-have-a-reason', 'descriptions-are-capitalized',
  'enum-values-all-caps', 'enum-values-have-descriptions', 'fields-are-camel-cased', 'fields-have-descriptions',
  'input-object-values-are-camel-cased', 'input-object-values-have-descriptions',
  'relay-connection-types-spec', 'relay-connection-arguments-spec',
  'relay-page-info-spec', 'types-are-capitalized', 'types-have-descriptions',
]

function lint(args) {
  const bin = createRequire(import.meta.url).resolve('graphql-schema-linter/package.json')
  const cli = join(dirname(bin), 'lib', 'cli.js')
  try {
    execFileSync(process.execPath, [cli, '--format', 'json', '--rules', rules.join(','), ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    return []
  } catch (e) {
    return JSON.parse(e.stdout).errors
  }
}

// Descriptions of scalars and directives in backquotes, or words that begin small for a reason, are listed here.
const allowed = (e) => e.rule === 'descriptions-are-capitalized' && /`/.test(e.message)

test('the schema has no finding of graphql-schema-linter', () => {
  const found = lint(files.map((f) => join(root, 'schema', f))).filter((e) => !allowed(e))
  assert.deepEqual(found.map((e) => `${e.rule}: ${e.message}`), [])
})

test('the linter sees what it is asked to see', () => {
  const found = lint([join(root, 'test', 'schema', 'undescribed.graphql')])
  assert.ok(found.some((e) => e.rule === 'fields-have-descriptions'))
})

function lastRelease() {
  const git = (...a) => execFileSync('git', ['-C', root, ...a], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  let tag
  try {
    tag = git('describe', '--tags', '--abbrev=0', '--match', 'v[0-9]*').trim()
  } catch {
    return null
  }
  const names = git('ls-tree', '--name-only', `${tag}:schema`).split('\n').filter((f) => f.endsWith('.graphql')).sort()
  return { tag, sdl: names.map((f) => git('show', `${tag}:schema/${f}`)).join('\n') }
}

test('nothing breaks what the last release promised', (t) => {
  const old = lastRelease()
  if (!old) {
    t.diagnostic('no release yet: nothing to compare with')
    return
  }
  const breaks = findBreakingChanges(buildSchema(old.sdl), buildSchema(sdl))
  assert.deepEqual(breaks.map((b) => b.description), [], `against ${old.tag}`)
})

test('a breaking change would be seen', () => {
  const smaller = sdl.replace(/^ {2}"What happened\."\n {2}type: EventType!\n/m, '')
  assert.notEqual(smaller, sdl)
  assert.ok(findBreakingChanges(buildSchema(sdl), buildSchema(smaller)).length > 0)
})
