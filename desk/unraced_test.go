//go:build !race

package desk_test

// raced says that the race detector watches.
const raced = false
