/* metrics.h - the whole server's series as Prometheus' text. */
#pragma once

#include "server/rpc/rpc.h"
#include "src/base/buf.h"
#include "src/pipeline/pipeline.h"

/* Appends every series; any thread. */
void sc_app_metrics(sc_pipeline *pipeline, const sc_rpc *rpc, sc_buf *out);
