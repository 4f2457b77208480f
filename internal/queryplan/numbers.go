// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"math"
	"strconv"
	"strings"
)

// numberText writes a number as JavaScript does (ECMA-262, Number::toString).
func numberText(number float64) string { return string(appendNumber(nil, number)) }

func appendNumber(out []byte, number float64) []byte {
	switch {
	case math.IsNaN(number):
		return append(out, "NaN"...)
	case math.IsInf(number, 1):
		return append(out, "Infinity"...)
	case math.IsInf(number, -1):
		return append(out, "-Infinity"...)
	case number == 0:
		return append(out, '0')
	}
	if size := math.Abs(number); size >= 1e-6 && size < 1e21 {
		return strconv.AppendFloat(out, number, 'f', -1, 64)
	}
	begun := len(out)
	out = strconv.AppendFloat(out, number, 'e', -1, 64)
	// JavaScript writes no zero before an exponent of one digit.
	if last := len(out) - 2; last > begun && out[last] == '0' && (out[last-1] == '-' || out[last-1] == '+') {
		out = append(out[:last], out[last+1])
	}
	return out
}

// parseNumber reads a text as JavaScript's Number does; what is none is NaN.
func parseNumber(text string) float64 {
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return 0
	case "Infinity", "+Infinity":
		return math.Inf(1)
	case "-Infinity":
		return math.Inf(-1)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789+-.eE", r) }) {
		return math.NaN()
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(number, 0) {
		return math.NaN()
	}
	return number
}

// maxSafeInteger is the largest up to which every integer is a number of its own.
const maxSafeInteger = 1<<53 - 1

// maxExponent is far beyond what PostgreSQL's numeric has.
const maxExponent = 1_000_000

// decimalText brings a decimal into the form that decimal.js gives it: without zeros at
// its ends, and with an exponent below 1e-7 and from 1e21 on. It gives false for what
// is no decimal.
func decimalText(text string) (string, bool) {
	negative := strings.HasPrefix(text, "-")
	rest := strings.TrimPrefix(strings.TrimPrefix(text, "-"), "+")
	if rest == "NaN" || rest == "Infinity" {
		return text, true
	}
	mantissa, exponentText, hasExponent := strings.Cut(strings.ToLower(rest), "e")
	exponent, err := strconv.Atoi(exponentText)
	if hasExponent && (err != nil || exponent < -maxExponent || exponent > maxExponent) {
		return "", false
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	// The value is 0.DIGITS times ten to the point.
	point := len(whole) + exponent
	trimmed := strings.TrimLeft(digits, "0")
	point -= len(digits) - len(trimmed)
	trimmed = strings.TrimRight(trimmed, "0")
	out := placePoint(trimmed, point)
	if negative && trimmed != "" {
		out = "-" + out
	}
	return out, true
}

func placePoint(digits string, point int) string {
	switch {
	case digits == "":
		return "0"
	case point-1 <= -7 || point-1 >= 21:
		return withExponent(digits, point-1)
	case point <= 0:
		return "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		return digits + strings.Repeat("0", point-len(digits))
	}
	return digits[:point] + "." + digits[point:]
}

func withExponent(digits string, exponent int) string {
	out := digits[:1]
	if len(digits) > 1 {
		out += "." + digits[1:]
	}
	if exponent < 0 {
		return out + "e" + strconv.Itoa(exponent)
	}
	return out + "e+" + strconv.Itoa(exponent)
}
