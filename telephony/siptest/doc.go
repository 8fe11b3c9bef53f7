// Package siptest is the other side of a call in tests: a SIP phone that registers, and a carrier's trunk. Both speak
// real SIP and RTP over real sockets, answer, hold, press keys, send tones and judge what they hear; and both can misbehave.
//
// It shares no code with what it tests: dialogs, SDP and media are its own, on sipgo's transactions. What it hears stands
// by the wall clock, so a packet that never came is silence where it would have been.
//
// A customer's call, from ringing to what is heard:
//
//	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{Peer: node.SIP})
//	call, err := trunk.Call(ctx, siptest.Options{From: "+4930123", To: "+49800", Tone: 440}) // waits for the answer
//	verdict, err := call.Hears(ctx, 660, 2*time.Second)                                        // waits until it stands so long
//	err = call.Digits(ctx, "1")
//	err = call.HangUp(ctx)
//
// An agent's phone, which rings for a second and answers:
//
//	phone := siptest.NewPhone(t, siptest.PhoneConfig{Registrar: node.Phones, Username: "ann", Password: "…"})
//	_, err := phone.Register(ctx, time.Hour)
//	phone.AnswerWith(siptest.Options{Tone: 660})
//	phone.Behave(siptest.AnswerAfter(time.Second))
//
// Dial begins a call without waiting, to cancel it, to end it by BYE while it rings, or to look at what becomes of it.
// Everything ends with the test that made it.
package siptest
