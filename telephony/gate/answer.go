package gate

import (
	"errors"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// authorize is the request again with an answer to the challenge: section 22.2.
func authorize(req *sip.Request, res *sip.Response, r route, seq uint32, branch string) (*sip.Request, error) {
	again := req.Clone()
	again.RemoveHeader("Via")
	v := req.Via().Clone()
	v.Params.Add("branch", branch)
	again.PrependHeader(v)
	again.CSeq().SeqNo = seq
	return again, answerChallenge(again, res, r)
}

// answerChallenge adds the credentials for the first challenge that we can answer; RFC 8760 section 2.4 has the best first.
func answerChallenge(req *sip.Request, res *sip.Response, r route) error {
	ask, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, v := range values(res, ask) {
		c, err := digest.ParseChallenge(v)
		if err != nil || !digest.CanDigest(c) {
			continue
		}
		for i := range c.QOP {
			c.QOP[i] = strings.TrimSpace(c.QOP[i])
		}
		cred, err := digest.Digest(c, digest.Options{
			Method: string(req.Method), URI: req.Recipient.String(), Username: r.user, Password: r.password, Count: 1,
		})
		if err != nil {
			continue
		}
		req.AppendHeader(sip.NewHeader(answer, cred.String()))
		return nil
	}
	return errors.New("no challenge that we can answer")
}
