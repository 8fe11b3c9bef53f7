// Package channeltest proves that a kind of channel keeps its contract. A kind's
// own test hands a fake of its provider to Run, which plays what every provider
// does sooner or later: repeats, disorder, wrong signatures, hostile bodies,
// refusals, silence.
//
// It is test code: no product binary imports it. Beside the suite it has the
// host of a channel under test, with a clock that a test moves and a dialer that
// reaches the loop-back interface.
//
// What a fake can play is found by type assertion, as with the channels
// themselves: a fake for a channel that only receives has no outbound half. The
// suite fails when the fake leaves out a half that the channel has, since an
// untested capability is not proved.
package channeltest
