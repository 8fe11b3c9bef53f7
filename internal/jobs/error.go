package jobs

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrLost says that the claim is no longer ours: its lease ended and somebody else may be at work. The transaction must
// roll back.
var ErrLost = errors.New("the claim of the job was lost")

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error that no further attempt will mend: the job is dead at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type retryAfter struct {
	error
	after time.Duration
}

func (r retryAfter) Unwrap() error { return r.error }

// RetryAfter marks an error after which the next attempt comes no sooner than d. It is an attempt. RetryAfter(nil, d) is
// nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return retryAfter{err, d}
}

type snooze time.Duration

func (s snooze) Error() string { return fmt.Sprintf("not yet, again in %s", time.Duration(s)) }

// Snooze says that it is too early: the job runs again after d, and this was no attempt.
func Snooze(d time.Duration) error { return snooze(d) }

// maxError is how many bytes of an error a row keeps.
const maxError = 2 << 10

// text is an error as a row keeps it: PostgreSQL takes no NUL and no broken UTF-8.
func text(err error) string {
	s := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "�")
	if len(s) <= maxError {
		return s
	}
	cut := maxError
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
