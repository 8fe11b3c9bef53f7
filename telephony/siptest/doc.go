// Package siptest is the other side of a call in tests: a SIP phone that registers, and a carrier's trunk. Both speak
// real SIP and RTP over real sockets, answer, hold, press keys, send tones and judge what they hear; and both can misbehave.
//
// It shares no code with what it tests: dialogs, SDP and media are its own, on sipgo's transactions. What it hears stands
// by the wall clock, so a packet that never came is silence where it would have been.
//
// Everything ends with the test that made it.
package siptest
