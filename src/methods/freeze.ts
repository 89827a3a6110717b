import type { ParameterRole } from "../native/types.js";
import { change, type Method } from "./method.js";

/** Parameters of these roles stay as they are and count in no gradient norm. */
export function freeze(roles: readonly ParameterRole[]): Method {
  return (parameters) => change(parameters, ({ role }) => roles.includes(role), { frozen: true });
}
