// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// maxOpening is PostgreSQL's MAX_STARTUP_PACKET_LENGTH, in bytes; passwords have it, too.
	maxOpening = 10_000
	// The codes stand where a startup packet has its version (PostgreSQL documentation,
	// section Message Formats).
	cancelCode     = 80877102
	sslCode        = 80877103
	gssCode        = 80877104
	protocol3      = 3
	optionsOfThree = "_pq_."
)

// readOpening reads what a client opens with: a *pgproto3.StartupMessage or a
// *pgproto3.CancelRequest. It declines encryption inside the tunnel, and reads no byte
// of what follows, for that may be the password and the first query already.
func readOpening(client io.ReadWriter) (pgproto3.FrontendMessage, error) {
	for range 3 { // PostgreSQL lets each way to encrypt be asked for once.
		packet, err := readSized(client, nil)
		if err != nil {
			return nil, err
		}
		if len(packet) < 4 {
			return nil, violation("a startup packet is too short")
		}
		switch binary.BigEndian.Uint32(packet) {
		case sslCode, gssCode:
			if _, err := client.Write([]byte{'N'}); err != nil {
				return nil, err
			}
		case cancelCode:
			request := &pgproto3.CancelRequest{}
			if err := request.Decode(packet); err != nil {
				return nil, violation("a cancel request is malformed")
			}
			return request, nil
		default:
			return decodeStartup(packet)
		}
	}
	return nil, violation("the client asks for encryption again and again")
}

// decodeStartup accepts every minor version of protocol 3; negotiation settles on 3.0.
func decodeStartup(packet []byte) (*pgproto3.StartupMessage, error) {
	version := binary.BigEndian.Uint32(packet)
	if version>>16 != protocol3 {
		return nil, &ending{status: websocket.StatusNormalClosure, response: fatal(codeUnsupported,
			fmt.Sprintf("unsupported frontend protocol %d.%d: the gateway supports 3.0", version>>16, version&0xffff))}
	}
	binary.BigEndian.PutUint32(packet, pgproto3.ProtocolVersion30)
	startup := &pgproto3.StartupMessage{}
	if err := startup.Decode(packet); err != nil {
		return nil, violation("a startup packet is malformed")
	}
	startup.ProtocolVersion = version
	return startup, nil
}

// negotiate tells a client that asks for more than protocol 3.0 that it gets that; nil
// where it does not ask.
func negotiate(startup *pgproto3.StartupMessage) ([]byte, error) {
	var options []string
	for _, name := range slices.Sorted(maps.Keys(startup.Parameters)) {
		if strings.HasPrefix(name, optionsOfThree) {
			options = append(options, name)
		}
	}
	if startup.ProtocolVersion == pgproto3.ProtocolVersion30 && options == nil {
		return nil, nil
	}
	return (&pgproto3.NegotiateProtocolVersion{UnrecognizedOptions: options}).Encode(nil)
}

// loginOf is what a startup packet asks for, the password apart.
func loginOf(startup *pgproto3.StartupMessage) (Login, error) {
	login := Login{Parameters: map[string]string{}}
	for name, value := range startup.Parameters {
		switch {
		case name == "user":
			login.User = value
		case name == "database":
			login.Database = value
		case !strings.HasPrefix(name, optionsOfThree):
			login.Parameters[name] = value
		}
	}
	if login.User == "" {
		return Login{}, &ending{status: websocket.StatusNormalClosure, response: fatal(codeInvalidAuthorization,
			"no PostgreSQL user name specified in startup packet")}
	}
	if login.Database == "" {
		login.Database = login.User
	}
	return login, nil
}

// askPassword asks for a password in clear text and reads it, and no byte of what follows.
func askPassword(client io.ReadWriter, prelude []byte) (string, error) {
	request, err := (&pgproto3.AuthenticationCleartextPassword{}).Encode(prelude)
	if err != nil {
		return "", fmt.Errorf("asking for the password: %w", err)
	}
	if _, err := client.Write(request); err != nil {
		return "", err
	}
	var kind [1]byte
	body, err := readSized(client, kind[:])
	if err != nil {
		return "", err
	}
	if kind[0] != 'p' {
		return "", violation(fmt.Sprintf("a password was expected, and a message of type %q came", kind[0]))
	}
	password, rest, terminated := strings.Cut(string(body), "\x00")
	if !terminated || rest != "" {
		return "", violation("a password message is malformed")
	}
	if password == "" {
		return "", &ending{status: websocket.StatusNormalClosure, response: fatal(codeInvalidPassword, "the password is empty")}
	}
	return password, nil
}

// readSized reads a message: its kind, where it has one, its length, and its body.
func readSized(client io.Reader, kind []byte) ([]byte, error) {
	header := make([]byte, len(kind)+4)
	if _, err := io.ReadFull(client, header); err != nil {
		return nil, cut(err)
	}
	copy(kind, header)
	length := binary.BigEndian.Uint32(header[len(kind):])
	if length < 4 || length > maxOpening {
		return nil, violation(fmt.Sprintf("a message of %d bytes came before the login, where 4 to %d are allowed", length, maxOpening))
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(client, body); err != nil {
		return nil, cut(err)
	}
	return body, nil
}

// cut is an end of the stream in a message, or before one: the client has gone.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.Join(err, errGone)
	}
	return err
}

func violation(words string) error {
	return &ending{status: websocket.StatusProtocolError, response: fatal(codeProtocolViolation, words)}
}
