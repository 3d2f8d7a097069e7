// The one thing of Node that the examples use; a project of yours has @types/node.
declare const process: { argv: string[] };
