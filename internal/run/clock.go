package run

import "time"

// Clock is the machine's time, in the form that channel kinds get it.
type Clock struct{}

// Now is the time in UTC.
func (Clock) Now() time.Time { return time.Now().UTC() }

// After sends once when d has passed.
func (Clock) After(d time.Duration) <-chan time.Time { return time.After(d) }
