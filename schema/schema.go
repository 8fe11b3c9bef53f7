// Package schema is the public contract: hand-written SDL, one file a noun, described to 100 %. It grows with the
// product: a type or field enters it only when it works end to end.
package schema

import (
	"embed"
	"strings"
)

//go:embed *.graphql
var files embed.FS

// SDL is the whole contract as one text, in the order of the files' names.
func SDL() string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var b strings.Builder
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	return b.String()
}
