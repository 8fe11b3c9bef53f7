package email

import (
	"io"
	"net/textproto"
	"testing"
	"time"

	"tributary/channels"
)

// TestReplies reads what servers say.
func TestReplies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   stage
		code int
		msg  string
		want channels.Class
		wait time.Duration
	}{
		{stageHello, 421, "4.3.2 shutting down", channels.ClassRetry, time.Minute},
		{stageHello, 554, "5.7.1 your address is listed", channels.ClassRetry, time.Minute},
		{stageLogin, 535, "5.7.8 bad credentials", channels.ClassAuthBroken, 0},
		{stageLogin, 534, "5.7.9 application-specific password required", channels.ClassAuthBroken, 0},
		{stageLogin, 454, "4.7.0 temporary authentication failure", channels.ClassRetry, time.Minute},
		{stageLogin, 504, "5.5.4 unknown mechanism", channels.ClassConfig, 0},
		{stageSender, 530, "5.7.0 authentication required", channels.ClassAuthBroken, 0},
		{stageSender, 553, "5.7.1 not owned by user", channels.ClassConfig, 0},
		{stageSender, 552, "5.3.4 message too big", channels.ClassContentRejected, 0},
		{stageRecipient, 450, "4.2.0 greylisted for 300 seconds", channels.ClassRetry, 5 * time.Minute},
		{stageRecipient, 450, "4.2.0 try again in 5 minutes", channels.ClassRetry, 5 * time.Minute},
		{stageRecipient, 450, "4.2.0 try again in 99999 minutes", channels.ClassRetry, 24 * time.Hour},
		{stageRecipient, 451, "4.3.0 later", channels.ClassRetry, time.Minute},
		{stageRecipient, 452, "4.5.3 too many recipients", channels.ClassRetry, time.Minute},
		{stageRecipient, 550, "5.1.1 user unknown", channels.ClassInvalidRecipient, 0},
		{stageRecipient, 550, "no such user", channels.ClassInvalidRecipient, 0},
		{stageRecipient, 551, "user not local", channels.ClassInvalidRecipient, 0},
		{stageRecipient, 553, "5.1.3 bad address", channels.ClassInvalidRecipient, 0},
		{stageRecipient, 501, "5.1.3 bad syntax", channels.ClassInvalidRecipient, 0},
		{stageRecipient, 552, "5.2.2 mailbox full", channels.ClassPermanent, 0},
		{stageRecipient, 554, "5.7.1 relay access denied", channels.ClassPermanent, 0},
		{stageRecipient, 550, "5.7.1 blocked", channels.ClassPermanent, 0},
		{stageContent, 421, "4.3.0 going down", channels.ClassRetry, time.Minute},
		{stageContent, 451, "4.3.0 later", channels.ClassRetry, time.Minute},
		{stageContent, 550, "5.7.1 spam", channels.ClassContentRejected, 0},
		{stageContent, 550, "5.1.1 user unknown", channels.ClassInvalidRecipient, 0},
		{stageContent, 551, "no", channels.ClassContentRejected, 0},
		{stageContent, 552, "5.3.4 too big", channels.ClassContentRejected, 0},
		{stageContent, 554, "5.6.0 virus", channels.ClassContentRejected, 0},
		{stageContent, 535, "5.7.8 who are you", channels.ClassAuthBroken, 0},
	} {
		err := replied(c.at, "test", &textproto.Error{Code: c.code, Msg: c.msg})
		if got := channels.ClassOf(err); got != c.want || channels.RetryAfterOf(err) != c.wait {
			t.Errorf("%d %s in stage %d: %q after %v, want %q after %v", c.code, c.msg, c.at, got, channels.RetryAfterOf(err), c.want, c.wait)
		}
	}
	for _, code := range []int{100, 250, 354, 399} {
		if err := error(&textproto.Error{Code: code}); certain(err) {
			t.Errorf("%d is taken for a refusal", code)
		}
	}
	if certain(textproto.ProtocolError("short response: what")) || certain(io.EOF) {
		t.Error("noise is taken for a refusal")
	}
}

func TestQueueID(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"2.0.0 Ok: queued as 4F1B2C": "4F1B2C", "OK id=1tT0bq-0001Ab-2C": "1tT0bq-0001Ab-2C",
		"2.0.0 OK  1735718400 d2e1a72fcca58-72aad8dbaf1sm123 - gsmtp": "OK 1735718400 d2e1a72fcca58-72aad8dbaf1sm123 - gsmtp",
		"": "", "2.0.0": "",
	} {
		if got := queueID(reply); got != want {
			t.Errorf("%q gave %q, want %q", reply, got, want)
		}
	}
}
