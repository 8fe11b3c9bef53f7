package email

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"tributary/channels"
)

func TestSenderTrust(t *testing.T) {
	t.Parallel()
	const ours = "Authentication-Results: mx.example.com;"
	for name, c := range map[string]struct {
		from, results string
		level         channels.Level
		scheme        string
		domain        string
		warning       string
	}{
		"dmarc pass":                {"a@shop.example", ours + " dmarc=pass header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"dmarc pass, other case":    {"a@Shop.Example", "Authentication-Results: MX.Example.COM; DMARC=Pass header.from=SHOP.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"dmarc and dkim":            {"a@shop.example", ours + " dkim=pass header.d=shop.example; spf=pass smtp.mailfrom=shop.example; dmarc=pass (p=NONE sp=NONE) header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"dkim pass":                 {"a@shop.example", ours + " dkim=pass (2048-bit key) header.d=shop.example header.s=k", channels.ChannelProved, "dkim", "shop.example", ""},
		"dkim by header.i":          {"a@shop.example", ours + " dkim=pass header.i=@mail.shop.example", channels.ChannelProved, "dkim", "mail.shop.example", ""},
		"dkim of the organisation":  {"a@mail.shop.co.uk", ours + " dkim=pass header.d=news.shop.co.uk", channels.ChannelProved, "dkim", "news.shop.co.uk", ""},
		"second dkim aligned":       {"a@shop.example", ours + " dkim=pass header.d=esp.example; dkim=pass header.d=shop.example", channels.ChannelProved, "dkim", "shop.example", ""},
		"version behind the server": {"a@shop.example", "Authentication-Results: mx.example.com 1; dmarc=pass header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"folded":                    {"a@shop.example", ours + "\r\n\tdmarc=pass\r\n\theader.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},

		"none":                          {"a@shop.example", "", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"nothing checked":               {"a@shop.example", ours + " none", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"spf alone":                     {"a@shop.example", ours + " spf=pass smtp.mailfrom=a@shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dmarc fail":                    {"a@shop.example", ours + " dmarc=fail header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderForged},
		"dmarc fail, dkim pass":         {"a@shop.example", ours + " dkim=pass header.d=shop.example; dmarc=fail header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderForged},
		"dmarc pass and fail":           {"a@shop.example", ours + " dmarc=pass header.from=shop.example; dmarc=fail header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderForged},
		"dmarc of another domain":       {"a@shop.example", ours + " dmarc=pass header.from=evil.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dmarc of no domain":            {"a@shop.example", ours + " dmarc=pass", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dkim of another domain":        {"a@shop.example", ours + " dkim=pass header.d=evil.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dkim of a neighbour":           {"a@shop.co.uk", ours + " dkim=pass header.d=evil.co.uk", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dkim of a public suffix":       {"a@shop.co.uk", ours + " dkim=pass header.d=co.uk", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dkim of a hosted customer":     {"a@blogspot.com", ours + " dkim=pass header.d=evil.blogspot.com", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"dkim fail":                     {"a@shop.example", ours + " dkim=fail header.d=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"another server":                {"a@shop.example", "Authentication-Results: mx.evil.example; dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"forged below ours":             {"a@shop.example", ours + " dmarc=none header.from=shop.example\r\n" + ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"forged above fail":             {"a@shop.example", ours + " dmarc=fail header.from=shop.example\r\n" + ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderForged},
		"another server above":          {"a@shop.example", "Authentication-Results: relay.example.net; spf=pass\r\n" + ours + " dmarc=pass header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"pass in a quoted mailfrom":     {"a@bank.example", ours + ` spf=pass smtp.mailfrom="x; dmarc=pass header.from=bank.example"@evil.example`, channels.Claimed, "", "", channels.WarnSenderUnproved},
		"pass in a comment":             {"a@bank.example", ours + ` spf=pass (domain of "x; dmarc=pass header.from=bank.example ; y") smtp.mailfrom=evil.example`, channels.Claimed, "", "", channels.WarnSenderUnproved},
		"pass in an open comment":       {"a@bank.example", ours + ` spf=pass (evil; dmarc=pass header.from=bank.example`, channels.Claimed, "", "", channels.WarnSenderUnproved},
		"pass behind a closed one":      {"a@bank.example", ours + ` spf=pass (evil) ); dmarc=pass header.from=bank.example`, channels.Claimed, "", "", channels.WarnSenderUnproved},
		"two senders":                   {"a@shop.example, b@shop.example", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"two From fields":               {"a@shop.example\r\nFrom: b@shop.example", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"sender in another one's group": {"Team: a@shop.example, b@evil.example;", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"address in the name":           {`"a@bank.example" <x@evil.example>`, ours + " dmarc=pass header.from=bank.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"two addresses in one":          {"a@shop.example <b@shop.example>", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"two in brackets":               {"<a@shop.example> <b@shop.example>", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"a comma behind a backslash":    {`a@shop.example\, <b@shop.example>`, ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"one in a word that is none":    {"=?x?q? <a@shop.example>?= <b@shop.example>", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"one behind an open comment":    {"a@shop.example (b <b@shop.example>", ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"one that begins in quotes":     {`"a"@shop.example <b@shop.example>`, ours + " dmarc=pass header.from=shop.example", channels.Claimed, "", "", channels.WarnSenderUnproved},
		"the same address twice":        {"a@shop.example <A@shop.example>", ours + " dmarc=pass header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"an address in an encoded name": {"=?utf-8?Q?b@shop.example?= <a@shop.example>", ours + " dmarc=pass header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
		"a quoted local part":           {`"a..b"@shop.example`, ours + " dmarc=pass header.from=shop.example", channels.ChannelProved, "dmarc", "shop.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mail := "From: " + c.from + "\r\nMessage-ID: <m@x>\r\n\r\nx\r\n"
			if c.results != "" {
				mail = c.results + "\r\n" + mail
			}
			in := readMail(t, mail)
			if in.Sender[0].Level != c.level || in.Proof.Scheme != c.scheme || in.Proof.Domain != c.domain {
				t.Errorf("level %v, proof %+v", in.Sender[0].Level, in.Proof)
			}
			if proved := c.level == channels.ChannelProved; proved != (in.Proof.Kind == channels.ProofMail) || proved != in.Proof.Aligned || proved != (in.Proof.Authority == "mx.example.com") {
				t.Errorf("proof %+v", in.Proof)
			}
			if got := strings.Join(in.Warnings, " "); got != c.warning {
				t.Errorf("warnings %q, want %q", got, c.warning)
			}
		})
	}
}

// TestSenderBehindComments: what stands in a comment is nobody's address
// (RFC 5322 section 3.2.2), and our own servers' verdict is not on it.
func TestSenderBehindComments(t *testing.T) {
	t.Parallel()
	for from, name := range map[string]string{
		"a@shop.example (<b@shop.example>)":                 "<b@shop.example>",
		"(x) a@shop.example (b@shop.example)":               "x",
		`a@shop.example (x \) <b@shop.example>)`:            `x \) <b@shop.example>`,
		"a@shop.example (x (y) <b@shop.example>)":           "x (y) <b@shop.example>",
		"Wang <a@shop.example> (<b@shop.example>)":          "Wang",
		"Wang (Sales) <a@shop.example>":                     "Wang (Sales)",
		"Wang (Sales <a@shop.example>":                      "Wang (Sales",
		`"Wang (" <a@shop.example> ("<b@shop.example>")`:    "Wang (",
		"=?utf-8?Q?Wang_(?= <a@shop.example> (b@x.example)": "Wang (",
	} {
		in := readMail(t, "Authentication-Results: mx.example.com; dmarc=pass header.from=shop.example\r\nFrom: "+from+"\r\n\r\nx")
		if in.Sender[0].Value != "a@shop.example" || in.SenderName != name {
			t.Errorf("%s: sender %v, name %q", from, in.Sender[0].Value, in.SenderName)
		}
	}
}

// TestSenderWithALookAlike: Unicode pairs the Kelvin sign with k, and mailboxes
// of one provider that differ in it belong to two people.
func TestSenderWithALookAlike(t *testing.T) {
	t.Parallel()
	in := readMail(t, "From: \u212Aevin@Shop.Example\r\n\r\nx")
	if got := in.Sender[0].Value; got != "\u212Aevin@shop.example" {
		t.Errorf("sender %q", got)
	}
}

// TestNoProofOfACutHeader: a signature counts from the last From upwards. With
// the last one behind what is kept of the header, the one above it, which a
// stranger put onto a signed mail, would be proved.
func TestNoProofOfACutHeader(t *testing.T) {
	t.Parallel()
	head := "Authentication-Results: mx.example.com; dkim=pass header.d=shop.example\r\nFrom: b@shop.example\r\nMessage-ID: <m@x>\r\n"
	in := readMail(t, head+strings.Repeat("X:\r\n", maxTopHeader/4)+"From: a@shop.example\r\n\r\nx\r\n")
	if in.Sender[0].Level != channels.Claimed || in.Proof.Kind != channels.ProofNone || !has(in, channels.WarnSenderUnproved) {
		t.Errorf("level %v, proof %+v, warnings %v", in.Sender[0].Level, in.Proof, in.Warnings)
	}
}

// TestNoProofOfACutHeaderOfALargeMail: the same where only a part of the header
// is asked for.
func TestNoProofOfACutHeaderOfALargeMail(t *testing.T) {
	t.Parallel()
	for name, pad := range map[string]string{"short": "", "long": strings.Repeat("Content-X: x\r\n", maxHead/14+1)} {
		head := "Authentication-Results: mx.example.com; dkim=pass header.d=shop.example\r\nFrom: b@shop.example\r\nSubject: large\r\n" + pad
		if pad != "" {
			head += "From: a@shop.example\r\n"
		}
		head += "\r\n"
		f := folder{sizes: []int64{maxRead + 1}}
		d := newScript(t, func(command string, w io.Writer) (string, error) {
			switch {
			case strings.HasSuffix(command, "(UID BODY)"):
				_, err := io.WriteString(w, `* 1 FETCH (UID 1 BODY ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 105000000 2000000))`+"\r\n")
				return "", err
			case strings.Contains(command, "[HEADER]"):
				_, err := fmt.Fprintf(w, "* 1 FETCH (UID 1 BODY[HEADER] {%d}\r\n%s)\r\n", len(head), head)
				return "", err
			case strings.Contains(command, "[TEXT]"):
				_, err := io.WriteString(w, "* 1 FETCH (UID 1 BODY[TEXT]<0> {5}\r\nhello)\r\n")
				return "", err
			}
			return f.answer(command, w)
		}).open(t, settings{"authservIds": []string{"mx.example.com"}})
		got, _ := d.all(t, channels.Cursor{})
		if len(got) != 1 || got[0].Subject != "large" || textIn(got[0]) != "hello" || !has(got[0], channels.WarnCut) {
			t.Fatalf("%s header: got %+v", name, got)
		}
		if proved := got[0].Sender[0].Level == channels.ChannelProved; proved != (pad == "") || proved == has(got[0], channels.WarnSenderUnproved) {
			t.Errorf("%s header: level %v, warnings %v", name, got[0].Sender[0].Level, got[0].Warnings)
		}
	}
}

func TestNoServerIsTrusted(t *testing.T) {
	t.Parallel()
	r, _ := newReader()
	r.authserv = nil
	in := readBy(t, r, "Authentication-Results: ; dmarc=pass header.from=shop.example\r\nAuthentication-Results: mx.example.com; dmarc=pass header.from=shop.example\r\nFrom: a@shop.example\r\n\r\nx")
	if in.Sender[0].Level != channels.Claimed || in.Proof.Kind != channels.ProofNone {
		t.Errorf("proof %+v", in.Proof)
	}
}

func TestAutomatic(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"":                                        false,
		"Auto-Submitted: no":                      false,
		"Auto-Submitted: No (really)":             false,
		"Auto-Submitted: auto-replied":            true,
		"Auto-Submitted: auto-generated; x=y":     true,
		"Precedence: bulk":                        true,
		"Precedence: Junk":                        true,
		"Precedence: list":                        true,
		"Precedence: auto_reply":                  true,
		"Precedence: first-class":                 false,
		"X-Auto-Response-Suppress: All":           true,
		"X-Auto-Response-Suppress: DR, OOF":       true,
		"X-Auto-Response-Suppress: DR, RN":        false,
		"X-Auto-Response-Suppress: AutoReply":     true,
		"X-Autoreply: yes":                        true,
		"X-Autorespond: gone":                     true,
		"List-Id: <l.example>":                    true,
		"List-Unsubscribe: <mailto:u@x>":          true,
		"Return-Path: <>":                         true,
		"Return-Path: <a@b.example>":              false,
		"From: MAILER-DAEMON@mx.example":          true,
		"From: Postmaster <postmaster@x.example>": true,
		"From: no-reply@shop.example":             true,
		"From: noreply+7@shop.example":            true,
		"From: norman@shop.example":               false,
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			if header != "" {
				header += "\r\n"
			}
			if !strings.HasPrefix(header, "From") {
				header += "From: a@b.example\r\n"
			}
			if in := readMail(t, header+"\r\nx"); in.Automatic != want || in.Kind != channels.InboundMessage {
				t.Errorf("automatic %v, kind %s", in.Automatic, in.Kind)
			}
		})
	}
}
