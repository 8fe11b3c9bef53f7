// Package trunk is the kind of channel for telephone calls: a SIP trunk of a carrier or of another exchange. Calls are
// run by telephony; what is left for the kind is the settings, their checks, and what they mean for telephony: an opened
// channel is a voice.Line. It has neither Receiver nor Sender, so nothing can be written into a call.
//
// Invariants: whoever calls in is known by an address, or proves himself by a password, or both; a setting that admits
// half of the world is refused when it is saved. A channel holds no connection and starts no goroutine; it is safe for
// concurrent use.
package trunk

import (
	"errors"
	"fmt"
	"slices"

	"tributary/channels"
	"tributary/channels/voice"
)

// Config is the settings of a trunk.
type Config struct {
	Server         string   `json:"server" max:"255" doc:"Where outbound calls go: a host name, or host:port. Empty: calls only come in."`
	Transport      string   `json:"transport" default:"udp" enum:"udp,tcp,tls" doc:"How the server is spoken to."`
	Addresses      []string `json:"addresses" max:"100" doc:"IP addresses or prefixes, such as 192.0.2.0/28, that calls come from. Others are dropped."`
	Username       string   `json:"username" max:"128" doc:"User name that inbound calls must prove by digest, with the password."`
	AuthUsername   string   `json:"authUsername" max:"128" doc:"User name that answers the server's challenge to outbound calls."`
	Country        string   `json:"country" max:"2" doc:"Country of numbers that are dialled without a country code, such as CN."`
	CallerID       string   `json:"callerId" title:"Caller id" max:"16" doc:"Number that outbound calls show, such as +862112345678."`
	TrustsCallerID bool     `json:"trustsCallerId" title:"Trusts caller id" doc:"The carrier's word on who calls (P-Asserted-Identity) is shown as the caller. It stays a claim."`
	MaxCalls       int      `json:"maxCalls" min:"0" max:"100000" doc:"Most calls at once; 0: no bound of its own."`
	MaxPerSecond   int      `json:"maxPerSecond" min:"0" max:"10000" doc:"Most new calls in a second; 0: no bound of its own."`
	Headers        []string `json:"headers" max:"20" doc:"Further headers of an inbound call that are kept with it."`

	Password     channels.Secret `json:"password"`
	AuthPassword channels.Secret `json:"authPassword"`
}

// Validate implements channels.Validator.
func (c Config) Validate() error {
	for _, check := range []func() error{c.checkServer, c.checkAddresses, c.checkLogins, c.checkNumbers, c.checkHeaders} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func wrong(field, message string) error {
	return &channels.FieldError{Field: field, Message: message}
}

// Kind is the description that init registers.
var Kind = channels.Kind{
	Name:         "voice",
	Title:        "Telephone",
	Description:  "A SIP trunk: telephone calls of a carrier or of another exchange.",
	Config:       Config{},
	Capabilities: channels.Capabilities{Idempotency: channels.IdempotencyNone},
	Live:         channels.Live,
	JoinOpen:     true,
	Identities:   []string{channels.IdentityPhone},
	Open:         open,
}

func init() { channels.Register(Kind) }

// Channel is an opened trunk.
type Channel struct{ config Config }

var _ voice.Line = (*Channel)(nil)

func open(cfg any, _ channels.Host) (channels.Channel, error) {
	c, ok := cfg.(Config)
	if !ok {
		return nil, channels.ConfigError(fmt.Errorf("open trunk: configuration is a %T", cfg))
	}
	switch {
	case c.Username != "" && !c.Password.Set():
		err := errors.New("open trunk: the user name of inbound calls has no password")
		return nil, channels.ConfigError(err).WithText("Inbound calls must prove a user name, so a password is needed.")
	case c.AuthUsername != "" && !c.AuthPassword.Set():
		err := errors.New("open trunk: the user name of outbound calls has no password")
		return nil, channels.ConfigError(err).WithText("Outbound calls answer with a user name, so its password is needed.")
	}
	return &Channel{config: c}, nil
}

// Close implements channels.Channel; there is nothing to end.
func (c *Channel) Close() error { return nil }

// Trunk implements voice.Line.
func (c *Channel) Trunk() voice.Trunk {
	s := c.config
	return voice.Trunk{
		Addresses: slices.Clone(s.Addresses), Username: s.Username, Password: s.Password.Current(),
		Server: s.Server, Transport: s.Transport, AuthUser: s.AuthUsername, AuthPassword: s.AuthPassword.Current(),
		TrustsCaller: s.TrustsCallerID, MaxCalls: s.MaxCalls, MaxPerSecond: s.MaxPerSecond, Headers: slices.Clone(s.Headers),
		Country: s.Country, CallerID: s.CallerID,
	}
}
