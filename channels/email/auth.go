package email

import (
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/authres"
	"golang.org/x/net/publicsuffix"

	"tributary/channels"
)

// verdict is what a server that we trust says of the shown sender.
type verdict struct {
	proof  channels.Proof // of kind ProofNone: nothing is proved
	forged bool           // the sender's domain disowns the mail
}

// authenticate reads the Authentication-Results (RFC 8601). Everybody can write
// such a field into his mail, so of those that name a server of ours only the
// topmost counts: what our server adds stands above what came in. A server that
// does not always add one has to remove those that claim its name, as the RFC says.
func (r *reader) authenticate(h header, from string) verdict {
	for _, value := range h.all("authentication-results") {
		text, ok := withoutComments(string(value))
		if !ok {
			return verdict{}
		}
		authority, results, err := authres.Parse(text)
		if !slices.ContainsFunc(r.authserv, func(ours string) bool { return strings.EqualFold(ours, authority) }) {
			continue
		}
		if err != nil {
			return verdict{} // what could not be read may say fail
		}
		return judge(results, strings.ToLower(authority), domainOf(from))
	}
	return verdict{}
}

// judge looks for a pass of the sender's own domain. A failed DMARC goes before
// every pass; two results of one method are no reason to take the better one.
func judge(results []authres.Result, authority, domain string) verdict {
	proof := channels.Proof{Kind: channels.ProofMail, Domain: domain, Aligned: true, Authority: authority}
	dmarc, dkim := false, false
	for _, result := range results {
		switch r := result.(type) {
		case *authres.DMARCResult:
			switch {
			case r.Value == authres.ResultFail:
				return verdict{forged: true}
			case r.Value == authres.ResultPass && aligned(r.From, domain):
				dmarc = true
			}
		case *authres.DKIMResult:
			signer := r.Domain
			if signer == "" {
				signer = domainOf(r.Identifier)
			}
			if r.Value == authres.ResultPass && aligned(signer, domain) && !dkim {
				dkim = true
				proof.Domain = strings.ToLower(signer)
			}
		}
	}
	switch {
	case dmarc:
		proof.Scheme, proof.Domain = "dmarc", domain
	case dkim:
		proof.Scheme = "dkim"
	default:
		return verdict{}
	}
	return verdict{proof: proof}
}

// aligned is the relaxed rule of RFC 7489: both domains belong to one
// organisation. An organisation is what somebody registered, one label below a
// public suffix: a.example.co.uk and b.example.co.uk are one, a.co.uk and
// b.co.uk are not. A public suffix is aligned with itself alone.
func aligned(a, b string) bool {
	a, b = strings.Trim(strings.ToLower(a), `".`), strings.Trim(strings.ToLower(b), `".`)
	if a == "" || b == "" {
		return false
	}
	if a == b {
		return true
	}
	first, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	second, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && first == second
}

// withoutComments makes the field safe for a parser that knows neither comments
// nor quotes: within them a sender's address can say "; dmarc=pass". Comments
// go, and in quotes only letters, digits and what addresses need stay. A field
// that opens one and does not close it says nothing.
func withoutComments(value string) (string, bool) {
	var out strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && (depth > 0 || quoted):
			i++
		case quoted && c == '"':
			quoted = false
		case quoted:
			if c > ' ' && c < 0x7f && !strings.ContainsRune(`;=()"`, rune(c)) {
				out.WriteByte(c)
			}
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 {
				return "", false
			}
			out.WriteByte(' ')
		case depth > 0:
		case c == '"':
			quoted = true
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), depth == 0 && !quoted
}
