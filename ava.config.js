export default {
  workerThreads: false,
  timeout: "3m",
};
