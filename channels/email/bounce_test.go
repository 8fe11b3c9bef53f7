package email

import (
	"strings"
	"testing"

	"tributary/channels"
)

// report is a delivery report as mail servers write it.
func report(status, original string) string {
	return "Return-Path: <>\r\nDelivered-To: support+b7.abcdefghij@example.com\r\nFrom: MAILER-DAEMON@mx.example (Mail Delivery System)\r\nTo: support+b7.abcdefghij@example.com\r\n" +
		"Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMessage-ID: <b@mx.example>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"b\"\r\n\r\nThis is a MIME-encapsulated message.\r\n\r\n--b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry.\r\n\r\n" +
		status + original + "--b--\r\n"
}

func statusPart(kind, fields string) string {
	return "--b\r\nContent-Description: Delivery report\r\nContent-Type: " + kind + "\r\n\r\nReporting-MTA: dns; mx.example\r\nArrival-Date: Mon, 5 Jan 2026 09:00:00 +0000 (UTC)\r\n\r\n" + fields + "\r\n"
}

func originalPart(kind, encoding string) string {
	if encoding != "" {
		encoding = "Content-Transfer-Encoding: " + encoding + "\r\n"
	}
	return "--b\r\nContent-Description: Undelivered Message\r\nContent-Type: " + kind + "\r\n" + encoding + "\r\nReceived: by mx.example\r\nFrom: support@example.com\r\nMessage-ID: <m7.abcdefghij@example.com>\r\nSubject: Re: s\r\n\r\nMessage-ID: <not.this@example.com>\r\n"
}

const (
	failed  = "Final-Recipient: rfc822; li@customer.example\r\nOriginal-Recipient: rfc822;li@customer.example\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.customer.example\r\nDiagnostic-Code: smtp; 550 5.1.1 <li@customer.example>: Recipient address\r\n    rejected\r\n"
	delayed = "Final-Recipient: rfc822; li@customer.example\r\nAction: delayed (soft)\r\nStatus: 4.4.1\r\nDiagnostic-Code: X-Postfix; connection timed out\r\nWill-Retry-Until: Sat, 10 Jan 2026 09:00:00 +0000\r\n"
)

func TestBounce(t *testing.T) {
	t.Parallel()
	const why, late = "5.1.1 550 5.1.1 <li@customer.example>: Recipient address rejected", "delayed: 4.4.1 connection timed out"
	for name, c := range map[string]struct {
		mail   string
		state  channels.DeliveryState
		reason string
		target string
	}{
		"rfc822":               {report(statusPart("message/delivery-status", failed), originalPart("message/rfc822", "")), channels.DeliveryFailed, why, "m7.abcdefghij@example.com"},
		"headers alone":        {report(statusPart("message/delivery-status", failed), originalPart("text/rfc822-headers", "")), channels.DeliveryFailed, why, "m7.abcdefghij@example.com"},
		"global":               {report(statusPart("message/global-delivery-status", failed), originalPart("message/global", "8bit")), channels.DeliveryFailed, why, "m7.abcdefghij@example.com"},
		"global headers":       {report(statusPart("message/global-delivery-status", failed), originalPart("message/global-headers", "8bit")), channels.DeliveryFailed, why, "m7.abcdefghij@example.com"},
		"no original":          {report(statusPart("message/delivery-status", failed), ""), channels.DeliveryFailed, why, ""},
		"delayed":              {report(statusPart("message/delivery-status", delayed), originalPart("message/rfc822", "")), channels.DeliverySent, late, "m7.abcdefghij@example.com"},
		"delayed and failed":   {report(statusPart("message/delivery-status", delayed+"\r\n"+failed), ""), channels.DeliveryFailed, why, ""},
		"two failed":           {report(statusPart("message/delivery-status", failed+"\r\n"+strings.Replace(failed, "5.1.1", "5.2.2", 1)), ""), channels.DeliveryFailed, why, ""},
		"delivered":            {report(statusPart("message/delivery-status", "Action: delivered\r\nStatus: 2.0.0\r\n"), ""), channels.DeliveryDelivered, "2.0.0", ""},
		"relayed":              {report(statusPart("message/delivery-status", "Action: relayed\r\nStatus: 2.0.0\r\n"), ""), channels.DeliverySent, "relayed: 2.0.0", ""},
		"LF alone":             {strings.ReplaceAll(report(statusPart("message/delivery-status", failed), originalPart("message/rfc822", "")), "\r\n", "\n"), channels.DeliveryFailed, why, "m7.abcdefghij@example.com"},
		"report without type":  {strings.Replace(report(statusPart("message/delivery-status", failed), originalPart("message/rfc822", "")), "report-type=delivery-status;", "", 1), channels.DeliveryFailed, why, "m7.abcdefghij@example.com"},
		"no report, by header": {"Return-Path: <>\r\nDelivered-To: support+b7.abcdefghij@example.com\r\nFrom: mailer-daemon@mx.example\r\nX-Failed-Recipients: li@customer.example\r\n\r\nMail delivery failed", channels.DeliveryFailed, "li@customer.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := readMail(t, c.mail)
			if in.Kind != channels.InboundDelivery || !in.Automatic || in.State != c.state || in.Reason != c.reason || in.TargetID != c.target {
				t.Errorf("kind %s, state %s, reason %q, target %q", in.Kind, in.State, in.Reason, in.TargetID)
			}
			if len(in.Marks) != 1 || in.Marks[0] != "b7.abcdefghij" {
				t.Errorf("marks %v", in.Marks)
			}
		})
	}
}

// TestNoBounce: what only looks like a report stays a message.
func TestNoBounce(t *testing.T) {
	t.Parallel()
	for name, mail := range map[string]string{
		"empty status":              report(statusPart("message/delivery-status", "Action: lost\r\n"), ""),
		"read receipt":              strings.NewReplacer("report-type=delivery-status", "report-type=disposition-notification", "message/delivery-status", "message/disposition-notification").Replace(report(statusPart("message/delivery-status", "Disposition: manual-action/MDN-sent-manually; displayed\r\n"), "")),
		"about a bounce":            "From: a@b.example\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n",
		"header of a person's mail": "From: a@b.example\r\nX-Failed-Recipients: li@customer.example\r\n\r\nhello",
		"forwarded as a file":       head + "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nsee\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n" + report(statusPart("message/delivery-status", failed), "") + "\r\n--o--\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if in := readMail(t, mail); in.Kind != channels.InboundMessage {
				t.Errorf("kind %s, reason %q", in.Kind, in.Reason)
			}
		})
	}
}

// TestForwardedReport: a person who sends us the parts of a report asks
// something. Taken for a report, his mail would be shown to nobody.
func TestForwardedReport(t *testing.T) {
	t.Parallel()
	parts := statusPart("message/delivery-status", failed)
	r, s := newReader()
	in := readBy(t, r, head+"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nWhy did this come back?\r\n"+parts+originalPart("message/rfc822", "")+"--b--\r\n")
	if in.Kind != channels.InboundMessage || in.Automatic || textIn(in) != "Why did this come back?" || len(in.Parts) != 3 {
		t.Fatalf("kind %s, automatic %v, text %q, %d parts", in.Kind, in.Automatic, textIn(in), len(in.Parts))
	}
	if _, report, _ := strings.Cut(parts, "\r\n\r\n"); s.file(t, in.Parts[1].Media)+"\r\n" != report {
		t.Errorf("report %q", s.file(t, in.Parts[1].Media))
	}
	// The same without a person.
	in = readMail(t, "Return-Path: <>\r\n"+head+"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nIt came back.\r\n"+parts+originalPart("message/rfc822", "")+"--b--\r\n")
	if in.Kind != channels.InboundDelivery || in.State != channels.DeliveryFailed || in.TargetID != "m7.abcdefghij@example.com" {
		t.Errorf("kind %s, state %s, target %q", in.Kind, in.State, in.TargetID)
	}
}
