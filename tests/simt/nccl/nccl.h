#pragma once

#include <simt/runtime.h>

#include <cstddef>

// The part of NCCL's API that Tandem uses, with its names, values and meanings (NCCL's user guide,
// "NCCL API"), for the emulated GPUs; nccl_double.cpp is the library behind it.

enum ncclResult_t {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
};
enum ncclDataType_t { ncclFloat32 = 7 };
enum ncclRedOp_t { ncclSum = 0 };
struct ncclComm;
using ncclComm_t = ncclComm*;

extern "C" {
// One communicator for each of num_devices GPUs, no two the same.
ncclResult_t ncclCommInitAll(ncclComm_t* comms, int num_devices, const int* devices);
// Stream-ordered; in place where both buffers are the same.
ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
// Ends what of `comm` is on its GPU and frees it.
ncclResult_t ncclCommAbort(ncclComm_t comm);
const char* ncclGetErrorString(ncclResult_t result);
}
