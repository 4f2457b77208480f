// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// encoder writes lines as the poolers and the gateway do, so that one story can be made of
// their logs.
func encoder() zap.Opts {
	return zap.JSONEncoder(func(c *zapcore.EncoderConfig) {
		c.TimeKey, c.EncodeTime, c.EncodeLevel = "time", zapcore.RFC3339NanoTimeEncoder, zapcore.CapitalLevelEncoder
	})
}

// level turns --log-level into a zap option; debug shows decisions, too.
func level(name string) zap.Opts {
	if name == "debug" {
		return zap.Level(zapcore.DebugLevel)
	}
	return zap.Level(zapcore.InfoLevel)
}

// stackTracesOff keeps an error to one line: it says itself where it comes from.
func stackTracesOff() zap.Opts {
	return zap.StacktraceLevel(zapcore.PanicLevel)
}
