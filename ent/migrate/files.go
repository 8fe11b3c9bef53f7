// Package migrate is the schema as tables (generated) and its versioned migrations of both dialects.
package migrate

import "embed"

// Files are the versioned migrations of both dialects, in the folders sqlite and postgres, in goose's form. They are
// made by main.go of this folder from the difference between the schema and the files before.
//
//go:embed sqlite/*.sql postgres/*.sql
var Files embed.FS
