// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxNanoid bounds how long an identifier a plan may ask for.
const maxNanoid = 4096

// generate makes a value as the generator of the name does.
func (x *execution) generate(name string, args []value) (value, error) {
	if err := x.spend(1); err != nil {
		return nil, err
	}
	var first value = undefined{}
	if len(args) > 0 {
		first = args[0]
	}
	switch name {
	case "now":
		return x.instant().iso(), nil
	case "uuid", "cuid":
		return identifier(name, first)
	case "ulid":
		return ulid(), nil
	case "nanoid":
		return nanoid(first)
	case "product":
		return x.product(args)
	}
	return nil, failure("Encountered an unknown generator '%.40s'", name)
}

func identifier(name string, version value) (value, error) {
	number, _ := version.(float64)
	switch name + numberText(number) {
	case "uuid4":
		return uuid4(), nil
	case "uuid7":
		return uuid7(), nil
	case "cuid1":
		return cuid1(), nil
	case "cuid2":
		return cuid2(), nil
	}
	return nil, failure("Invalid %s generator arguments", strings.ToUpper(name))
}

// pairWork is what a pair takes in memory, in values.
const pairWork = 8

// product is every pair of the elements of the one and the other.
func (x *execution) product(args []value) (value, error) {
	if len(args) != 2 {
		return nil, failure("Invalid Product generator arguments")
	}
	left, right := asList(args[0]), asList(args[1])
	pairs := &list{}
	for _, a := range left {
		if err := x.spend(pairWork * len(right)); err != nil {
			return nil, err
		}
		for _, b := range right {
			pairs.items = append(pairs.items, listOf(a, b))
		}
	}
	return pairs, nil
}

// random gives as many random bytes. It cannot fail (crypto/rand.Read).
func random(count int) []byte {
	out := make([]byte, count)
	_, _ = rand.Read(out)
	return out
}

func uuidText(octets []byte, version byte) string {
	octets[6] = octets[6]&0x0f | version<<4
	octets[8] = octets[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", octets[0:4], octets[4:6], octets[6:8], octets[8:10], octets[10:16])
}

func uuid4() string { return uuidText(random(16), 4) }

// uuid7 begins with the time in milliseconds (RFC 9562, section 5.7).
func uuid7() string {
	octets := random(16)
	putMilliseconds(octets)
	return uuidText(octets, 7)
}

// putMilliseconds writes the time into the first six bytes.
func putMilliseconds(octets []byte) {
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(time.Now().UnixMilli()))
	copy(octets[:6], stamp[2:])
}

var (
	cuidCounter     atomic.Uint32
	cuidFingerprint = sync.OnceValue(func() string {
		host, _ := os.Hostname() // Without one the fingerprint is of the process alone.
		sum := len(host) + 36
		for _, c := range []byte(host) {
			sum += int(c)
		}
		return pad36(uint64(os.Getpid()), 2) + pad36(uint64(sum), 2)
	})
)

// pad36 writes the number's last digits to the base of 36.
func pad36(number uint64, size int) string {
	text := strings.Repeat("0", size) + strconv.FormatUint(number, 36)
	return text[len(text)-size:]
}

// cuid1 is a letter, the time, a counter, the process and randomness.
func cuid1() string {
	entropy := binary.BigEndian.Uint64(random(8))
	count := uint64(cuidCounter.Add(1)-1) % (36 * 36 * 36 * 36)
	now := strconv.FormatInt(time.Now().UnixMilli(), 36)
	return "c" + now + pad36(count, 4) + cuidFingerprint() + pad36(entropy>>32, 4) + pad36(entropy&0xffffffff, 4)
}

// cuid2 is a letter and 23 digits that tell nothing of when and where they were made.
func cuid2() string {
	octets := random(17)
	digits := new(big.Int).SetBytes(octets[1:]).Text(36)
	return string('a'+octets[0]%26) + (strings.Repeat("0", 23) + digits)[len(digits):][:23]
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ulid is the time in milliseconds and 80 bits of randomness, in Crockford's base of 32.
func ulid() string {
	octets := random(16)
	putMilliseconds(octets)
	number := new(big.Int).SetBytes(octets)
	out := make([]byte, 26)
	digit, base := new(big.Int), big.NewInt(32)
	for i := len(out) - 1; i >= 0; i-- {
		number.DivMod(number, base, digit)
		out[i] = crockford[digit.Int64()]
	}
	return string(out)
}

const nanoidAlphabet = "useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict"

func nanoid(size value) (value, error) {
	length := 21.0
	if _, none := size.(undefined); !none {
		known, ok := size.(float64)
		if !ok || known < 0 || known > maxNanoid {
			return nil, failure("Invalid Nanoid generator arguments")
		}
		length = known
	}
	out := random(int(length))
	for i, octet := range out {
		out[i] = nanoidAlphabet[octet&63]
	}
	return string(out), nil
}

// traceID and spanID are identifiers as OpenTelemetry has them.
func traceID() string { return hex.EncodeToString(random(16)) }
func spanID() string  { return hex.EncodeToString(random(8)) }
