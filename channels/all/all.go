// Package all is the one list of the channel kinds that a binary has. It is
// imported for its effect: each kind registers itself when it is initialised.
//
// A new kind is one folder beside this one and one line here; nothing else in
// the tree names it. The test of this package keeps that true: it looks for
// kinds' names in the rooms that must not know them.
//
// Nothing is exported and no goroutine starts; main and tests that need every
// kind import it blank.
package all

import (
	_ "tributary/channels/custom"
	_ "tributary/channels/email"
	_ "tributary/channels/trunk"
	_ "tributary/channels/webchat"
)
