package crypt

import "sync/atomic"

// ent calls value scanners without a receiver or a context, so the Box they seal with has to be found from a package.
var current atomic.Pointer[Box]

// Use makes b the Box of this process. main calls it once before the store opens; nil takes it away.
func Use(b *Box) { current.Store(b) }

// Current is the Box given to Use, or nil. A nil Box is safe to hold: Seal, Unseal and Rotate return ErrNoBox, while Key
// and Blind, which have no error to return, panic with the same sentence.
func Current() *Box { return current.Load() }
