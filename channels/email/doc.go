// Package email joins the desk to a mailbox: mail is read by IMAP (RFC 3501, RFC
// 9051) and sent by submission (RFC 6409).
//
// Reading: Fetch lists the folder's mails above a cursor of UIDVALIDITY and UID
// and streams each of them into the reader, which makes the event. Neither a
// date nor a flag decides what is new, since mails are moved into the folder
// with old dates and people read the mailbox, too. Watch holds IDLE (RFC 2177)
// and only wakes. What is done to a mail that was read (flag, move) is done by
// the fetch after it, when the core has committed.
//
// Sending: Send composes a mail whose bytes are the same at every attempt and
// hands it in over one connection. Up to the final dot nothing is in doubt; from
// then on only the server's reply says what happened (RFC 5321 section 4.5.3.2.6),
// and without it the error is Uncertain.
//
// Invariants: no connection without TLS but to the machine itself; no read or
// write waits for ever, on the host's clock; no mail is held in memory as a
// whole; a mail that came in part is never taken for the whole mail; nothing
// from outside enters a header but as one encoded line; no error and no log has
// a password or a recipient's full address.
//
// A channel is safe for concurrent use. It keeps one IMAP connection between
// fetches, under a turn; every other task has a connection of its own. Close
// cuts all of them and waits for their goroutines.
package email
