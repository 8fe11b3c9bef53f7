package email

import "strings"

// machines are local parts that no person writes from.
var machines = map[string]bool{
	"mailer-daemon": true, "postmaster": true, "no-reply": true, "noreply": true, "no_reply": true,
	"donotreply": true, "do-not-reply": true, "do_not_reply": true,
}

// automatic tells whether a machine wrote the mail (RFC 3834): it is shown, and
// no machine of ours answers it.
func automatic(h header, from string) bool {
	local, _, _ := strings.Cut(from, "@")
	local, _, _ = strings.Cut(local, "+")
	submitted := h.plain("auto-submitted")
	if end := strings.IndexAny(submitted, ";("); end >= 0 { // parameters and comments
		submitted = submitted[:end]
	}
	switch {
	case h.has("auto-submitted") && !strings.EqualFold(strings.TrimSpace(submitted), "no"),
		h.has("x-autoreply"), h.has("x-autorespond"), h.has("list-id"), h.has("list-unsubscribe"),
		emptyReturnPath(h), machines[local]:
		return true
	}
	switch strings.ToLower(h.plain("precedence")) {
	case "bulk", "junk", "list", "auto_reply":
		return true
	}
	for option := range strings.SplitSeq(strings.ToLower(h.plain("x-auto-response-suppress")), ",") {
		switch strings.TrimSpace(option) {
		case "all", "oof", "autoreply":
			return true
		}
	}
	return false
}

// emptyReturnPath is how mails come that must not be answered.
func emptyReturnPath(h header) bool {
	return strings.Join(strings.Fields(string(h.raw("return-path"))), "") == "<>"
}
