// Package router decides who gets what: it matches waiting interactions with agents.
//
// Core is a pure matching core over a copy of the floor in memory: no I/O, no goroutine, and time comes
// in as an argument. Loop owns a Core while it holds the lease: it reads the floor through the port Floor,
// decides, commits, and follows the changes. Package desk implements Floor; main joins both.
//
// A decision is a proposal. It counts only when Floor.Commit has made it true with conditional updates, so
// two leaders for a moment can never place one interaction twice, and a copy that lags behind costs a
// conflict and nothing else.
//
// Order is a static key, QueuedAt − Priority·Weight: two items that age at the same pace never change places,
// so nothing has to be sorted again while time passes. The items wait in one heap per requirement class
// (workspace, queue, kind, live or not, cost, skills). The free agents of a class stand in a second heap by idle time.
// A decision compares heads: it walks neither all the items nor all the agents.
//
// Invariants:
//   - of what waits, the smallest key that some agent can take is placed first; what nobody can take blocks
//     nothing behind it;
//   - an agent's units, limits and blocker hold with everything that is reserved in memory on top of his row;
//   - when Decide returns fewer decisions than its limit, no waiting item has an agent who could take it.
//
// A Core belongs to one goroutine. Loop.Run starts one more, which only watches the lease and ends with it.
package router
