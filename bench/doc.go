// Package bench holds load measurements. Each reports a ratio to a floor that is measured in the same run on the same
// database: raw SQL sent through the same driver, committed here. Times say little on a shared machine; ratios say more.
// Run `make bench`.
package bench
