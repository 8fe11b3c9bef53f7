// Package bench holds load measurements. Each reports a ratio to a floor that is measured in the same run on the same
// machine, in turns with the product: raw SQL through the same driver, pgbench, or a plain gqlgen server, all committed
// here. Times say little on a shared machine; ratios say more. What each measures stands in its comment and, with
// figures, in docs/performance.md. A measurement never decides a test.
//
// Neighbours: test/rig starts the real program where the way through it is measured; router measures its own decisions.
// Run `make bench`, or one: go test ./bench -run '^$' -bench Inbox.
package bench
