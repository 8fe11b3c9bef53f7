// Package channels is the contract between the core of the desk and every way
// in and out of it: the kind of a channel, what a provider sent (Inbound), what
// we send (Outbound), how a failed send is to be read (Error), and the few
// things a kind gets from us (Host).
//
// A kind lives in a folder of its own, registers itself in init and is listed
// once in channels/all. It states what it saw and how well that was proved; who
// somebody is, which conversation a message joins and whether a send is
// repeated are decided by the core. No kind sees the database or another kind,
// and no core code compares a kind's name.
//
// What an opened channel can do is found by type assertion on the small
// interfaces of this package (Receiver, Sender, Fetcher, …); a Kind's
// Capabilities describe the rest, which no method can show. Kinds are safe for
// concurrent use: several nodes and goroutines call one channel at once. The
// package itself starts no goroutine beside those of WithTimeout, which ends
// with its cancel function. It imports the standard library only.
package channels
