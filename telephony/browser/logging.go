package browser

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logFactory gives the library our logger. What it calls an error is often only a connection that ended, so nothing is
// louder than a warning.
type logFactory struct{ log *slog.Logger }

// NewLogger names one part of the library.
func (f logFactory) NewLogger(scope string) logging.LeveledLogger {
	return scoped{f.log.With("webrtc", scope)}
}

// scoped takes warnings and errors, and leaves the rest.
type scoped struct{ log *slog.Logger }

// Trace is left.
func (s scoped) Trace(string) {}

// Tracef is left.
func (s scoped) Tracef(string, ...any) {}

// Debug is left.
func (s scoped) Debug(string) {}

// Debugf is left.
func (s scoped) Debugf(string, ...any) {}

// Info is left.
func (s scoped) Info(string) {}

// Infof is left.
func (s scoped) Infof(string, ...any) {}

// Warn is for who looks for a fault.
func (s scoped) Warn(msg string) { s.log.Debug(msg) }

// Warnf is for who looks for a fault.
func (s scoped) Warnf(format string, args ...any) { s.log.Debug(fmt.Sprintf(format, args...)) }

// Error is a warning.
func (s scoped) Error(msg string) { s.log.Warn(msg) }

// Errorf is a warning.
func (s scoped) Errorf(format string, args ...any) { s.log.Warn(fmt.Sprintf(format, args...)) }
