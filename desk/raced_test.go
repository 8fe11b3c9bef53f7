//go:build race

package desk_test

// raced says that the race detector watches. It makes SQLite, which is Go, many times slower, and needs no many rounds: one
// unordered access is enough for it.
const raced = true
