// Package ent is the data model in Go: made from ent/schema by `go generate`, committed and never edited. The templates
// in ent/template add workspace scope, keyset pages and loading by selection (docs/map.md).
package ent

//go:generate go run -mod=mod entc.go
